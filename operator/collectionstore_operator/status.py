"""What is reported of a cluster: conditions, members, fault tolerance and the plan. Pure: the time comes in.

Two statuses of an unchanged cluster are equal, so that nothing is written while nothing happens: times move only when
what they belong to changes, and a lag is reported only once it matters, and then roughly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import field

from collectionstore_operator import certificates, labels
from collectionstore_operator.actions import Plan, Step
from collectionstore_operator.conditions import JUDGES, ConditionStatus, Verdict, member_working
from collectionstore_operator.environment import revision
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.moments import rfc3339
from collectionstore_operator.observed import NodeId, Observed, Pod, Slot, Unknown, Volume
from collectionstore_operator.resources import Desired
from collectionstore_operator.standing import Seat, Situation, ailment, assess, current, rough_lag

STEPS_MAX: Final = 32
MESSAGE_LENGTH_MAX: Final = 1_024


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A piece of the status, camelCase in JSON."""


class Condition(_Part, frozen=True):
    """A judgement and since when it holds; `last_transition_time` moves only with `status`."""

    type: str
    status: ConditionStatus
    reason: str
    message: str
    observed_generation: int
    last_transition_time: str


class MemberStatus(_Part, frozen=True):
    """One member, or what remains of one."""

    name: str
    ordinal: int
    pod_uid: str = field(name="podUID", default="")
    node_id: NodeId = field(name="nodeID", default="")
    """Its incarnation: another one after its disk was lost."""
    role: str = ""
    """Leader, Voter, Incoming, Outgoing or Learner; None when it has no part; Unknown when nobody can tell."""
    ready: bool = False
    lag: int = 0
    """Entries behind; 0 while it has caught up, rounded otherwise."""
    version: str = ""
    updated: bool = False
    """It runs with the current settings."""
    restarts: int = 0
    volume: str = ""
    address: str = ""
    """Base URL at which clients reach it."""
    message: str = ""
    """What ails it, empty when nothing does."""


class ConfigurationStatus(_Part, frozen=True):
    """Who votes, by name. Joint while a change of voters is under way: both lists then need a majority."""

    index: int = 0
    joint: bool = False
    voters: tuple[str, ...] = ()
    outgoing: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()


class PlannedStep(_Part, frozen=True):
    """A step that remains. `blocked_by` is empty while it is being done; `since` is when it got into this state."""

    step: str
    reason: str
    since: str
    subject: str = ""
    blocked_by: str = ""


class Status(_Part, frozen=True):
    """The whole status. `replicas` and `selector` serve the scale subresource."""

    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()
    replicas: int = 0
    """Pods that exist."""
    ready_members: int = 0
    members_summary: str = ""
    """For a column: members that vote, have caught up and serve, of those wanted: `3/3`."""
    selector: str = ""
    cluster_id: str = field(name="clusterID", default="")
    initialized: bool = False
    """The cluster has had data. Never cleared: it is never bootstrapped again."""
    bootstrap_node: NodeId = ""
    leader: str = ""
    term: int = 0
    fault_tolerance: int = 0
    configuration: ConfigurationStatus = ConfigurationStatus()
    revision: str = ""
    """Of the settings that every member should run with."""
    members: tuple[MemberStatus, ...] = ()
    plan: tuple[PlannedStep, ...] = ()
    steps_omitted: int = 0
    """Steps beyond the STEPS_MAX that are listed."""
    certificates_expire: str = ""
    """When the first certificate expires, if none is renewed."""

    def condition(self, kind: str) -> Condition | None:
        """Return a condition by its type."""
        return next((one for one in self.conditions if one.type == kind), None)


def report(desired: Desired, observed: Observed, plan: Plan, previous: Status | None) -> Status:
    """Return the status of an accepted resource; `previous` is the one published last."""
    situation = assess(desired, observed)
    standing, moment = situation.standing, rfc3339(observed.now)
    before = previous or Status()
    working = sum(member_working(situation, ordinal) for ordinal in situation.wanted())
    expiry = certificates.first_expiry(observed.certificates or ())
    verdicts = {kind: judge(situation, plan) for kind, judge in JUDGES.items()}
    return Status(
        observed_generation=desired.generation,
        conditions=_conditions(verdicts, before, desired.generation, moment),
        replicas=sum(isinstance(slot.pod, Pod) for slot in observed.slots),
        ready_members=working,
        members_summary=f"{working}/{desired.spec.replicas}",
        selector=",".join(f"{key}={value}" for key, value in sorted(labels.selector(desired.name).items())),
        cluster_id=observed.cluster_id,
        initialized=standing.initialized or before.initialized,
        bootstrap_node=observed.bootstrap_node,
        leader=standing.leader.name if standing.leader else "",
        term=standing.leader.term if standing.leader else 0,
        fault_tolerance=standing.fault_tolerance if standing.trusted else 0,
        configuration=_configuration(situation),
        revision=revision(desired),
        members=tuple(_member(situation, slot) for slot in situation.slots()),
        plan=tuple(_planned(step, before, moment) for step in plan.steps[:STEPS_MAX]),
        steps_omitted=max(0, len(plan.steps) - STEPS_MAX),
        certificates_expire=rfc3339(expiry.not_after) if expiry else "",
    )


def refused(error: InvalidResource, previous: Status | None, now: float) -> Status:
    """Return the status of a resource that cannot be accepted: what was known stays, and the errors are told."""
    before = previous or Status()
    known = {one.type: Verdict(one.status, one.reason, one.message) for one in before.conditions}
    unseen = Verdict("Unknown", "NotAccepted", "nothing is looked at until the resource is valid")
    verdicts = {kind: known.get(kind, unseen) for kind in JUDGES}
    message = "; ".join(str(one) for one in error.errors)
    verdicts["Accepted"] = Verdict("False", "InvalidSpec", message)
    verdicts["Ready"] = Verdict("False", "NotAccepted", "the resource is not valid, see condition Accepted")
    generation = error.generation or before.observed_generation
    conditions = _conditions(verdicts, before, generation, rfc3339(now))
    return msgspec.structs.replace(before, observed_generation=generation, conditions=conditions)


def _conditions(verdicts: Mapping[str, Verdict], before: Status, generation: int, moment: str) -> tuple[Condition, ...]:
    conditions = []
    for kind, verdict in verdicts.items():
        old = before.condition(kind)
        since = old.last_transition_time if old is not None and old.status == verdict.status else moment
        conditions.append(
            Condition(
                type=kind,
                status=verdict.status,
                reason=verdict.reason,
                message=_shortened(verdict.message),
                observed_generation=generation,
                last_transition_time=since,
            )
        )
    return tuple(conditions)


def _planned(step: Step, before: Status, moment: str) -> PlannedStep:
    since = moment
    for old in before.plan:
        if (old.step, old.subject, old.blocked_by) == (step.name, step.subject, _shortened(step.blocked_by)):
            since = old.since
    return PlannedStep(
        step=step.name,
        subject=step.subject,
        reason=_shortened(step.reason),
        blocked_by=_shortened(step.blocked_by),
        since=since,
    )


def _configuration(situation: Situation) -> ConfigurationStatus:
    configuration = situation.standing.configuration
    names = {seat.node_id: seat.name or seat.node_id for seat in situation.standing.seats}

    def named(ids: tuple[NodeId, ...]) -> tuple[str, ...]:
        return tuple(seat_name for one, seat_name in names.items() if one in ids)

    return ConfigurationStatus(
        index=configuration.index,
        joint=configuration.joint,
        voters=named(configuration.voters),
        outgoing=named(configuration.outgoing),
        learners=named(configuration.learners),
    )


def _member(situation: Situation, slot: Slot) -> MemberStatus:
    name, pod = situation.name(slot.ordinal), slot.pod if isinstance(slot.pod, Pod) else None
    node = current(slot, situation.observed.cluster_id)
    seats = situation.standing.seats_at(slot.ordinal)
    seat = situation.standing.seat(node.node_id) if node else next(iter(seats), None)
    return MemberStatus(
        name=name,
        ordinal=slot.ordinal,
        pod_uid=pod.uid if pod else "",
        node_id=node.node_id if node else seat.node_id if seat else "",
        role=_role(situation, seat),
        ready=pod.ready if pod else False,
        lag=rough_lag(seat.lag if seat else None),
        version=node.version if node else "",
        updated=pod is not None and pod.revision == revision(situation.desired),
        restarts=pod.restarts if pod else 0,
        volume=slot.volume.name if isinstance(slot.volume, Volume) else "",
        address=pod.http_address if pod else "",
        message=_shortened(_message(situation, slot, name)),
    )


def _role(situation: Situation, seat: Seat | None) -> str:
    configuration = situation.standing.configuration
    if not configuration.voters and situation.standing.initialized:
        return "Unknown"
    if seat is None:
        return "None"
    if situation.standing.leads(seat.node_id):
        return "Leader"
    if seat.node_id in configuration.learners:
        return "Learner"
    if not configuration.joint or (seat.node_id in configuration.voters and seat.node_id in configuration.outgoing):
        return "Voter"
    return "Incoming" if seat.node_id in configuration.voters else "Outgoing"


def _message(situation: Situation, slot: Slot, name: str) -> str:
    if slot.ordinal in situation.wanted():
        return ailment(slot, name, situation.observed.cluster_id)
    if isinstance(slot.pod, Pod | Unknown):
        return "not wanted any more"
    return "its disk is kept, marked as removed" if isinstance(slot.volume, Volume) and slot.volume.removed else ""


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 3] + "..."
