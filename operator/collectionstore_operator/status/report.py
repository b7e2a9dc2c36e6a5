"""What is reported of a cluster: conditions, members, fault tolerance and the plan. Pure: the time comes in.

Two statuses of an unchanged cluster are equal, so that nothing is written while nothing happens: times move only when
what they belong to changes, and a lag is reported only once it matters, and then roughly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, field

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import Plan, Step
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    assess,
    coarse_lag,
    responding_node,
    unhealthy_reason,
)
from collectionstore_operator.model.observed import NodeId, Observed, Pod, Slot, Unknown, Volume
from collectionstore_operator.planning import certificates
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.fields import atomic, unique_by
from collectionstore_operator.status.conditions import EVALUATORS, ConditionState, ConditionStatus, member_ready
from collectionstore_operator.status.timestamps import rfc3339

STEPS_MAX: Final = 32
MEMBERS_MAX: Final = 32
"""More than can ever be wanted; so many pods exist only where somebody scaled the StatefulSet by hand."""
MESSAGE_LENGTH_MAX: Final = 1_024

Text: TypeAlias = Annotated[str, Meta(max_length=MESSAGE_LENGTH_MAX)]
Word: TypeAlias = Annotated[str, Meta(max_length=253, title="a name or a word")]
Moment: TypeAlias = Annotated[str, Meta(max_length=32)]
"""RFC 3339; empty where there is none."""
MemberNames: TypeAlias = Annotated[tuple[Word, ...], Meta(max_length=MEMBERS_MAX, extra_json_schema=atomic())]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A piece of the status, camelCase in JSON."""


class Condition(_Part, frozen=True):
    """A judgement and since when it holds."""

    type: Annotated[Word, Meta(description="Which judgement: Ready, Available, Degraded and others.")]
    status: Annotated[ConditionStatus, Meta(description="Whether it holds; Unknown when nobody can tell.")]
    reason: Annotated[Word, Meta(description="Why, in one CamelCase word.")]
    message: Annotated[Text, Meta(description="Why, in a sentence.")]
    observed_generation: Annotated[int, Meta(ge=0, description="Generation of the spec that was order.")]
    last_transition_time: Annotated[Moment, Meta(description="Since when it has this status; moves only with it.")]


class MemberStatus(_Part, frozen=True):
    """One member, or what remains of one."""

    name: Annotated[Word, Meta(description="Name of the member and of its pod.")]
    ordinal: Annotated[int, Meta(ge=0, description="Its number.")]
    pod_uid: Annotated[Word, Meta(description="Uid of its pod; empty while there is none.")] = field(
        name="podUID", default=""
    )
    node_id: Annotated[Word, Meta(description="Its incarnation: another one after its disk was lost.")] = field(
        name="nodeID", default=""
    )
    role: Annotated[
        Word,
        Meta(
            description="Leader, Voter, Incoming, Outgoing or Learner; None when it has no part; Unknown when nobody "
            "can tell."
        ),
    ] = ""
    ready: Annotated[bool, Meta(description="It answered a linearizable read lately.")] = False
    lag: Annotated[
        int, Meta(ge=0, description="Entries behind; 0 while it has caught up, rounded to one digit otherwise.")
    ] = 0
    version: Annotated[Word, Meta(description="Version that it runs.")] = ""
    updated: Annotated[bool, Meta(description="It runs with the current settings.")] = False
    restarts: Annotated[int, Meta(ge=0, description="How often its process was started again.")] = 0
    volume: Annotated[Word, Meta(description="Its volume.")] = ""
    capacity: Annotated[int, Meta(ge=0, description="Bytes its volume has; 0 while unknown.")] = 0
    certificate_expires: Annotated[
        Moment, Meta(description="When the certificate expires that it shows; empty while it shows none.")
    ] = ""
    address: Annotated[Text, Meta(description="Base URL at which clients reach it.")] = ""
    message: Annotated[Text, Meta(description="What ails it; empty when nothing does.")] = ""


class ConfigurationStatus(_Part, frozen=True):
    """Who votes, by name. Joint while a change of voters is under way: both lists then need a majority."""

    index: Annotated[int, Meta(ge=0, description="Place of the configuration in the log.")] = 0
    joint: Annotated[bool, Meta(description="A change of voters is under way.")] = False
    voters: Annotated[MemberNames, Meta(description="Who votes, or is about to while the configuration is joint.")] = ()
    outgoing: Annotated[MemberNames, Meta(description="Who voted until now, while the configuration is joint.")] = ()
    learners: Annotated[MemberNames, Meta(description="Who receives the log without a vote.")] = ()


class PlannedStep(_Part, frozen=True):
    """A step that remains."""

    step: Annotated[Word, Meta(description="What will be done.")]
    reason: Annotated[Text, Meta(description="Why.")]
    since: Annotated[Moment, Meta(description="Since when it is in this state.")]
    subject: Annotated[Text, Meta(description="What it is about.")] = ""
    blocked_by: Annotated[Text, Meta(description="What must happen first; empty while it is being done.")] = ""


class Status(_Part, frozen=True):
    """The whole status. `replicas` and `selector` serve the scale subresource."""

    observed_generation: Annotated[int, Meta(ge=0, description="Generation of the spec this status is about.")] = 0
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(max_length=16, description="What can be said of the cluster.", extra_json_schema=unique_by("type")),
    ] = ()
    replicas: Annotated[int, Meta(ge=0, description="Pods that exist.")] = 0
    ready_members: Annotated[int, Meta(ge=0, description="Members that vote, have caught up and serve.")] = 0
    members_summary: Annotated[Word, Meta(description="The same for people, of those wanted: 3/3.")] = ""
    selector: Annotated[Text, Meta(description="Selects the cluster's pods; for the scale subresource.")] = ""
    cluster_id: Annotated[
        Word, Meta(description="Identity of the cluster, on every disk and in every certificate; never changes.")
    ] = field(name="clusterID", default="")
    initialized: Annotated[
        bool, Meta(description="The cluster has had data. Never cleared: it is never bootstrapped again.")
    ] = False
    bootstrap_node: Annotated[Word, Meta(description="The incarnation that was chosen to form the cluster.")] = ""
    leader: Annotated[Word, Meta(description="Member that leads; empty while none is known.")] = ""
    term: Annotated[int, Meta(ge=0, description="Term of that leader.")] = 0
    fault_tolerance: Annotated[int, Meta(ge=0, description="How many more voters may fail now.")] = 0
    configuration: Annotated[ConfigurationStatus, Meta(description="Who votes.")] = ConfigurationStatus()
    revision: Annotated[Word, Meta(description="Of the settings that every member should run with.")] = ""
    version: Annotated[Text, Meta(description="Version the members run; several during an upgrade.")] = ""
    members: Annotated[
        tuple[MemberStatus, ...],
        Meta(
            max_length=MEMBERS_MAX,
            description="Every member, and every pod and volume that is left of one.",
            extra_json_schema=unique_by("name"),
        ),
    ] = ()
    plan: Annotated[
        tuple[PlannedStep, ...],
        Meta(max_length=STEPS_MAX, description="What remains to be done, in order.", extra_json_schema=atomic()),
    ] = ()
    steps_omitted: Annotated[int, Meta(ge=0, description="Steps beyond those that are listed.")] = 0
    certificates_expire: Annotated[
        Moment, Meta(description="When the first certificate expires, if none is renewed.")
    ] = ""

    def condition(self, kind: str) -> Condition | None:
        """Return a condition by its type."""
        return next((one for one in self.conditions if one.type == kind), None)


def report(desired: Desired, observed: Observed, plan: Plan, previous: Status | None) -> Status:
    """Return the status of an accepted resource; `previous` is the one published last."""
    assessment = assess(desired, observed)
    view, moment = assessment.view, rfc3339(observed.now)
    before = previous or Status()
    working = sum(member_ready(assessment, ordinal) for ordinal in assessment.desired_ordinals())
    expiry = certificates.first_expiry(observed.certificates or ())
    states = {kind: evaluate(assessment, plan) for kind, evaluate in EVALUATORS.items()}
    return Status(
        observed_generation=desired.generation,
        conditions=_conditions(states, before, desired.generation, moment),
        replicas=sum(isinstance(slot.pod, Pod) for slot in observed.slots),
        ready_members=working,
        members_summary=f"{working}/{desired.spec.replicas}",
        selector=",".join(f"{key}={value}" for key, value in sorted(labels.selector(desired.name).items())),
        cluster_id=observed.cluster_id or before.cluster_id,
        initialized=view.initialized or before.initialized,
        bootstrap_node=observed.bootstrap_node or before.bootstrap_node,
        leader=view.leader.name if view.leader else "",
        term=view.leader.term if view.leader else 0,
        fault_tolerance=view.fault_tolerance if view.trusted else 0,
        configuration=_configuration(assessment),
        revision=revision(desired),
        version=_version(observed),
        members=tuple(_member(assessment, slot) for slot in assessment.slots()[:MEMBERS_MAX]),
        plan=tuple(_planned(step, before, moment) for step in plan.steps[:STEPS_MAX]),
        steps_omitted=max(0, len(plan.steps) - STEPS_MAX),
        certificates_expire=rfc3339(expiry.not_after) if expiry else "",
    )


def refused(error: InvalidResource, previous: Status | None, now: float) -> Status:
    """Return the status of a resource that cannot be accepted: what was known stays, and the errors are told."""
    before = previous or Status()
    known = {one.type: ConditionState(one.status, one.reason, one.message) for one in before.conditions}
    unseen = ConditionState("Unknown", "NotAccepted", "nothing is looked at until the resource is valid")
    states = {kind: known.get(kind, unseen) for kind in EVALUATORS}
    message = "; ".join(str(one) for one in error.errors)
    states["Accepted"] = ConditionState("False", "InvalidSpec", message)
    states["Ready"] = ConditionState("False", "NotAccepted", "the resource is not valid, see condition Accepted")
    generation = error.generation or before.observed_generation
    conditions = _conditions(states, before, generation, rfc3339(now))
    return msgspec.structs.replace(before, observed_generation=generation, conditions=conditions)


def _conditions(
    states: Mapping[str, ConditionState], before: Status, generation: int, moment: str
) -> tuple[Condition, ...]:
    conditions = []
    for kind, state in states.items():
        old = before.condition(kind)
        since = old.last_transition_time if old is not None and old.status == state.status else moment
        conditions.append(
            Condition(
                type=kind,
                status=state.status,
                reason=state.reason,
                message=_shortened(state.message),
                observed_generation=generation,
                last_transition_time=since,
            )
        )
    return tuple(conditions)


def _planned(step: Step, before: Status, moment: str) -> PlannedStep:
    since = moment
    for old in before.plan:
        if (old.step, old.subject, old.blocked_by) == (
            step.name,
            _shortened(step.subject),
            _shortened(step.blocked_by),
        ):
            since = old.since
    return PlannedStep(
        step=step.name,
        subject=_shortened(step.subject),
        reason=_shortened(step.reason),
        blocked_by=_shortened(step.blocked_by),
        since=since,
    )


def _configuration(assessment: Assessment) -> ConfigurationStatus:
    configuration = assessment.view.configuration
    names = {member.node_id: member.name or member.node_id for member in assessment.view.members}

    def named(ids: tuple[NodeId, ...]) -> tuple[str, ...]:
        return tuple(member_name for one, member_name in names.items() if one in ids)[:MEMBERS_MAX]

    return ConfigurationStatus(
        index=configuration.index,
        joint=configuration.joint,
        voters=named(configuration.voters),
        outgoing=named(configuration.outgoing),
        learners=named(configuration.learners),
    )


def _version(observed: Observed) -> str:
    return ", ".join(sorted({node.version for node in observed.nodes() if node.version}))


def _member(assessment: Assessment, slot: Slot) -> MemberStatus:
    name, pod = assessment.name(slot.ordinal), slot.pod if isinstance(slot.pod, Pod) else None
    node = responding_node(slot, assessment.observed.cluster_id)
    members = assessment.view.members_at(slot.ordinal)
    member = assessment.view.member(node.node_id) if node else next(iter(members), None)
    return MemberStatus(
        name=name,
        ordinal=slot.ordinal,
        pod_uid=pod.uid if pod else "",
        node_id=node.node_id if node else member.node_id if member else "",
        role=_role(assessment, member),
        ready=pod.ready if pod else False,
        lag=coarse_lag(member.lag if member else None),
        version=node.version if node else "",
        updated=pod is not None and pod.revision == revision(assessment.desired),
        restarts=pod.restarts if pod else 0,
        volume=slot.volume.name if isinstance(slot.volume, Volume) else "",
        capacity=slot.volume.capacity_bytes if isinstance(slot.volume, Volume) else 0,
        certificate_expires=rfc3339(node.certificate_not_after) if node and node.certificate_not_after else "",
        address=pod.http_address if pod else "",
        message=_shortened(_message(assessment, slot, name)),
    )


def _role(assessment: Assessment, member: MemberView | None) -> str:
    configuration = assessment.view.configuration
    if not configuration.voters and assessment.view.initialized:
        return "Unknown"
    if member is None:
        return "None"
    if assessment.view.is_leader(member.node_id):
        return "Leader"
    if member.node_id in configuration.learners:
        return "Learner"
    if not configuration.joint or (member.node_id in configuration.voters and member.node_id in configuration.outgoing):
        return "Voter"
    return "Incoming" if member.node_id in configuration.voters else "Outgoing"


def _message(assessment: Assessment, slot: Slot, name: str) -> str:
    if slot.ordinal in assessment.desired_ordinals():
        return unhealthy_reason(slot, name, assessment.observed.cluster_id)
    if isinstance(slot.pod, Pod | Unknown):
        return "not wanted any more"
    return "its disk is kept, marked as removed" if isinstance(slot.volume, Volume) and slot.volume.removed else ""


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 3] + "..."
