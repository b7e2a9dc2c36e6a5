"""The status of a cluster: conditions, members, fault tolerance and the plan. Pure: the time is an argument.

Two statuses of an unchanged cluster are equal, so that an idle cluster causes no writes to the API server: timestamps
change only together with their subject, and a lag is reported only above a threshold and rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal, Protocol, TypeAlias

import msgspec
from msgspec import Meta, field

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import AWAIT_LEADER, Plan, Step
from collectionstore_operator.model.assessment import (
    Assessment,
    MemberView,
    coarse_lag,
    is_serving,
    one_digit,
    responding_node,
    unhealthy_reason,
)
from collectionstore_operator.model.certificate_lifetimes import first_expiry
from collectionstore_operator.model.fences import is_fenced
from collectionstore_operator.model.observed import (
    Absent,
    Authority,
    NodeId,
    NodeStatus,
    Observed,
    Pod,
    Slot,
    Unknown,
    Volume,
)
from collectionstore_operator.model.recovery import published_as
from collectionstore_operator.model.released import delete_at, kept_because, released
from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.fields import atomic, unique_by
from collectionstore_operator.status.ailments import ailments
from collectionstore_operator.status.backup_condition import BACKUP_READY, backup_ready
from collectionstore_operator.status.condition_state import ConditionState, ConditionStatus
from collectionstore_operator.status.conditions import TYPES, evaluate, member_ready
from collectionstore_operator.status.history import History, electing
from collectionstore_operator.status.recovery_status import RecoveryStatus, recovery_status
from collectionstore_operator.status.restore_status import RestoreStatus, restore_status

STEPS_MAX: Final = 32
MEMBERS_MAX: Final = 32
"""More than spec.replicas allows; more pods exist only if the StatefulSet was scaled manually."""
MESSAGE_LENGTH_MAX: Final = 1_024

Text: TypeAlias = Annotated[str, Meta(max_length=MESSAGE_LENGTH_MAX)]
Word: TypeAlias = Annotated[str, Meta(max_length=253, title="a name or a word")]
Timestamp: TypeAlias = Annotated[str, Meta(max_length=32)]
"""RFC 3339; empty if not applicable."""
MemberNames: TypeAlias = Annotated[tuple[Word, ...], Meta(max_length=MEMBERS_MAX, extra_json_schema=atomic())]


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the status, camelCase in JSON."""


class Condition(_Part, frozen=True):
    """A condition as in the Kubernetes API conventions."""

    type: Annotated[Word, Meta(description="type is the type of the condition, such as Ready, Available or Degraded.")]
    status: Annotated[ConditionStatus, Meta(description="status is True, False, or Unknown.")]
    reason: Annotated[Word, Meta(description="reason is a CamelCase identifier for the cause of the status.")]
    message: Annotated[Text, Meta(description="message is a human-readable explanation.")]
    observed_generation: Annotated[
        int,
        Meta(ge=0, description="observedGeneration is the metadata.generation that the condition was computed from."),
    ]
    last_transition_time: Annotated[
        Timestamp, Meta(description="lastTransitionTime is the time when the status last changed.")
    ]


class ReleasedVolume(_Part, frozen=True):
    """A volume that no member is to use again."""

    name: Annotated[Word, Meta(description="name is the name of the PersistentVolumeClaim.")]
    released_at: Annotated[
        Timestamp, Meta(description="releasedAt is the time when its member was removed; empty if unknown.")
    ] = ""
    delete_at: Annotated[
        Timestamp, Meta(description="deleteAt is the time from which it may be deleted; empty if it is kept.")
    ] = ""
    capacity: Annotated[int, Meta(ge=0, description="capacity is its size in bytes.")] = 0
    message: Annotated[Text, Meta(description="message says why it is still there.")] = ""


class MemberStatus(_Part, frozen=True):
    """A member, or a pod or volume of a former member."""

    name: Annotated[Word, Meta(description="name is the name of the member and of its pod.")]
    ordinal: Annotated[int, Meta(ge=0, description="ordinal is the ordinal index of the pod in its StatefulSet.")]
    pod_uid: Annotated[Word, Meta(description="podUID is the UID of the pod; empty if there is no pod.")] = field(
        name="podUID", default=""
    )
    node_id: Annotated[
        Word,
        Meta(description="nodeID identifies the data directory of the member. A replaced member has a new nodeID."),
    ] = field(name="nodeID", default="")
    role: Annotated[
        Word,
        Meta(
            description="role is Leader, Voter, Learner or ReadReplica; Incoming or Outgoing in a joint configuration; "
            "None if the member is not in the configuration; Unknown if the configuration is not known."
        ),
    ] = ""
    group: Annotated[
        Literal["voters", "reads"],
        Meta(
            description="group is reads for read replicas and what is left of them, and voters for all other members."
        ),
    ] = "voters"
    ready: Annotated[
        bool, Meta(description="ready is true if the member passed its readiness probe, a linearizable read.")
    ] = False
    lag: Annotated[
        int,
        Meta(
            ge=0,
            description="lag is the number of log entries the member is behind the leader: 0 if it has caught up, "
            "rounded down to one significant digit otherwise.",
        ),
    ] = 0
    staleness_seconds: Annotated[
        int,
        Meta(
            ge=0,
            description="stalenessSeconds is how stale the state of a read replica can be at most: 0 within its bound, "
            "in seconds, rounded down to one significant digit otherwise.",
        ),
    ] = 0
    version: Annotated[Word, Meta(description="version is the version of the storage node that the member runs.")] = ""
    updated: Annotated[bool, Meta(description="updated is true if the member runs with the current revision.")] = False
    restarts: Annotated[int, Meta(ge=0, description="restarts is the number of container restarts.")] = 0
    volume: Annotated[Word, Meta(description="volume is the name of the PersistentVolumeClaim of the member.")] = ""
    capacity: Annotated[
        int, Meta(ge=0, description="capacity is the capacity of the volume, in bytes; 0 if unknown.")
    ] = 0
    certificate_expires: Annotated[
        Timestamp,
        Meta(
            description="certificateExpires is the expiry of the certificate that the member presents; empty if none."
        ),
    ] = ""
    certificate_serial: Annotated[
        Word,
        Meta(
            description="certificateSerial is the serial number of that certificate, in hexadecimal digits; empty if "
            "the member does not report it."
        ),
    ] = ""
    certificate_authority: Annotated[
        Word, Meta(description="certificateAuthority is the key identifier of the authority that signed it.")
    ] = ""
    address: Annotated[Text, Meta(description="address is the base URL of the member for clients.")] = ""
    unhealthy_since: Annotated[
        Timestamp,
        Meta(description="unhealthySince is the time since when the member is unhealthy; empty if it is healthy."),
    ] = ""
    message: Annotated[
        Text, Meta(description="message explains why the member is unhealthy; empty if it is healthy.")
    ] = ""


class AuthorityStatus(_Part, frozen=True):
    """The certificate authority, and the rotation of its key."""

    phase: Annotated[
        Literal["", "Steady", "Trusting", "Reissuing"],
        Meta(
            description="phase is that of the rotation of the key. Steady: there is one key. Trusting: members are to "
            "trust the next key, too. Reissuing: the new key signs, and certificates of the old one are replaced. "
            "Empty if there is no authority."
        ),
    ] = ""
    key: Annotated[
        Word, Meta(description="key is the key identifier of the authority that signs, in hexadecimal digits.")
    ] = ""
    expires: Annotated[Timestamp, Meta(description="expires is the expiry of the certificate of that authority.")] = ""
    other_key: Annotated[
        Word,
        Meta(description="otherKey is the key identifier of the other authority that is trusted during a rotation."),
    ] = ""
    other_expires: Annotated[
        Timestamp, Meta(description="otherExpires is the expiry of the certificate of that authority.")
    ] = ""


class ConfigurationStatus(_Part, frozen=True):
    """The Raft membership configuration, by member name. While joint, voters and outgoing each need a majority."""

    index: Annotated[int, Meta(ge=0, description="index is the log index of the configuration.")] = 0
    joint: Annotated[bool, Meta(description="joint is true while a change of voters is in progress.")] = False
    voters: Annotated[
        MemberNames, Meta(description="voters are the voting members; while joint, those of the new configuration.")
    ] = ()
    outgoing: Annotated[
        MemberNames, Meta(description="outgoing are the voters of the old configuration; empty unless joint.")
    ] = ()
    learners: Annotated[
        MemberNames, Meta(description="learners are the members that replicate the log and do not vote.")
    ] = ()


class PlannedStep(_Part, frozen=True):
    """A step of the plan."""

    step: Annotated[Word, Meta(description="step is the name of the action, in CamelCase.")]
    reason: Annotated[Text, Meta(description="reason explains why the step is necessary.")]
    since: Annotated[Timestamp, Meta(description="since is the time since when the step has been in this state.")]
    subject: Annotated[Text, Meta(description="subject is the object of the step, such as a member.")] = ""
    blocked_by: Annotated[
        Text, Meta(description="blockedBy is the reason why the step has to wait; empty if it is in progress.")
    ] = ""


class Status(_Part, frozen=True):
    """The status of the resource. `replicas` and `selector` serve the scale subresource."""

    observed_generation: Annotated[
        int, Meta(ge=0, description="observedGeneration is the metadata.generation that the status was computed from.")
    ] = 0
    conditions: Annotated[
        tuple[Condition, ...],
        Meta(
            max_length=24,
            description="conditions are the current conditions of the cluster.",
            extra_json_schema=unique_by("type"),
        ),
    ] = ()
    replicas: Annotated[int, Meta(ge=0, description="replicas is the number of existing pods.")] = 0
    ready_members: Annotated[
        int,
        Meta(
            ge=0, description="readyMembers is the number of voters that are ready and have caught up with the leader."
        ),
    ] = 0
    read_replicas: Annotated[
        int, Meta(ge=0, description="readReplicas is the number of read replicas that should exist now.")
    ] = 0
    ready_read_replicas: Annotated[
        int, Meta(ge=0, description="readyReadReplicas is the number of read replicas within their bound of staleness.")
    ] = 0
    members_summary: Annotated[
        Word, Meta(description="membersSummary shows readyMembers of spec.replicas, such as 3/3.")
    ] = ""
    selector: Annotated[
        Text, Meta(description="selector is the label selector of the pods, for the scale subresource.")
    ] = ""
    cluster_id: Annotated[
        Word,
        Meta(
            description="clusterID identifies the cluster in its volumes and certificates. Only a recovery "
            "and spec.restore change it."
        ),
    ] = field(name="clusterID", default="")
    initialized: Annotated[
        bool,
        Meta(
            description="initialized is true once the cluster was bootstrapped. It is never reset: no second bootstrap."
        ),
    ] = False
    bootstrap_node: Annotated[
        Word, Meta(description="bootstrapNode is the nodeID that was chosen to bootstrap the cluster.")
    ] = ""
    leader: Annotated[Word, Meta(description="leader is the name of the Raft leader; empty if none is known.")] = ""
    term: Annotated[int, Meta(ge=0, description="term is the Raft term of the leader.")] = 0
    fault_tolerance: Annotated[
        int,
        Meta(
            ge=0, description="faultTolerance is the number of further voters that can fail without losing the quorum."
        ),
    ] = 0
    configuration: Annotated[
        ConfigurationStatus, Meta(description="configuration is the Raft membership configuration.")
    ] = ConfigurationStatus()
    revision: Annotated[Word, Meta(description="revision is the desired revision of the members' settings.")] = ""
    version: Annotated[Text, Meta(description="version is the version of the members; several during an upgrade.")] = ""
    image: Annotated[Text, Meta(description="image is the image of the members; several during a rollout.")] = ""
    members: Annotated[
        tuple[MemberStatus, ...],
        Meta(
            max_length=MEMBERS_MAX,
            description="members are all members, and the pods and volumes of former members.",
            extra_json_schema=unique_by("name"),
        ),
    ] = ()
    plan: Annotated[
        tuple[PlannedStep, ...],
        Meta(
            max_length=STEPS_MAX,
            description="plan lists the remaining steps, in order; empty if the cluster is in the desired state.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    steps_omitted: Annotated[
        int, Meta(ge=0, description="stepsOmitted is the number of steps that plan does not list.")
    ] = 0
    largest_volume: Annotated[
        int,
        Meta(
            ge=0,
            description="largestVolume is the size of the largest volume of a member, requested or actual, in bytes; "
            "spec.storage.size cannot be less.",
        ),
    ] = 0
    released_volumes: Annotated[
        tuple[ReleasedVolume, ...],
        Meta(
            max_length=MEMBERS_MAX,
            description="releasedVolumes are the volumes of members that a scale-down has removed.",
            extra_json_schema=unique_by("name"),
        ),
    ] = ()
    certificates_expire: Annotated[
        Timestamp, Meta(description="certificatesExpire is the earliest expiry of a certificate.")
    ] = ""
    restore: Annotated[RestoreStatus, Meta(description="restore is the in-place restore of spec.restore.")] = (
        RestoreStatus()
    )
    recovery: Annotated[RecoveryStatus, Meta(description="recovery is the loss of the quorum, and its recovery.")] = (
        RecoveryStatus()
    )
    authority: Annotated[
        AuthorityStatus, Meta(description="authority is the certificate authority of the cluster.")
    ] = AuthorityStatus()
    peer_authority: Annotated[
        AuthorityStatus,
        Meta(
            description="peerAuthority is the certificate authority of peers, where they have their own; authority is "
            "that of clients and the operator then."
        ),
    ] = AuthorityStatus()

    def condition(self, kind: str) -> Condition | None:
        """Return a condition by its type."""
        return next((one for one in self.conditions if one.type == kind), None)


def report(assessment: Assessment, plan: Plan, previous: Status | None) -> Status:
    """Return the status of an accepted resource; `previous` is the one published last."""
    desired, observed, reads = assessment.desired, assessment.observed, assessment.reads()
    view, now = assessment.view, rfc3339(observed.now)
    before = previous or Status()
    working = sum(member_ready(assessment, ordinal) for ordinal in assessment.desired_ordinals())
    expiry = first_expiry(observed.certificates or ())
    unhealthy_since = _unhealthy_since(assessment, before, now)
    unhealthy_s = {ordinal: observed.now - seconds(since) for ordinal, since in unhealthy_since.items()}
    history = History(unhealthy_s=unhealthy_s, leaderless_s=_leaderless_s(before, observed.now))
    states = evaluate(assessment, plan, history)
    safe = before.condition("QuorumSafe")
    if safe is not None and electing(assessment, history):
        # Only the leader knows who is in sync: what it said last counts until the next one is expected.
        states["QuorumSafe"] = ConditionState(safe.status, safe.reason, safe.message)
    backups = backup_ready(observed.schedules, _state_of(before, BACKUP_READY))
    if backups is not None:
        states[BACKUP_READY] = backups
    return Status(
        observed_generation=desired.generation,
        conditions=conditions_from(states, before, desired.generation, observed.now),
        replicas=sum(isinstance(slot.pod, Pod) for slot in observed.slots),
        ready_members=working,
        read_replicas=reads.desired.spec.replicas if reads else 0,
        ready_read_replicas=sum(is_serving(reads.observed.slot(one).pod) for one in reads.desired_ordinals())
        if reads
        else 0,
        members_summary=f"{working}/{desired.spec.replicas}",
        selector=",".join(f"{key}={value}" for key, value in sorted(labels.selector(desired.name).items())),
        # What is published stays: the API server refuses a status with another ID, but for that of a recovery.
        cluster_id=published_as(observed.recovery, observed.cluster_id, before.cluster_id) or observed.cluster_id,
        initialized=view.initialized or before.initialized,
        bootstrap_node=observed.bootstrap_node or before.bootstrap_node,
        leader=view.leader.name if view.leader else "",
        term=view.leader.term if view.leader else 0,
        fault_tolerance=view.fault_tolerance if view.trusted else 0,
        configuration=_configuration(assessment),
        revision=revision(desired),
        version=_version(observed),
        image=_shortened(", ".join(sorted({pod.image for pod in _pods(observed) if pod.image}))),
        members=(
            *(_member(assessment, slot, unhealthy_since.get(slot.ordinal, "")) for slot in assessment.slots()),
            *((_member(reads, slot, "") for slot in reads.slots()) if reads else ()),
        )[:MEMBERS_MAX],
        plan=tuple(_planned(step, before, now) for step in plan.steps[:STEPS_MAX]),
        steps_omitted=max(0, len(plan.steps) - STEPS_MAX),
        released_volumes=tuple(
            ReleasedVolume(
                name=volume.name,
                released_at=rfc3339(volume.released_at) if volume.released_at else "",
                delete_at=rfc3339(due) if (due := delete_at(assessment, volume)) is not None else "",
                capacity=volume.capacity_bytes,
                message=_shortened(kept_because(assessment, slot, volume)),
            )
            for slot, volume in released(assessment)
        )[:MEMBERS_MAX],
        largest_volume=max((_size(slot.volume) for slot in observed.all_slots()), default=0),
        certificates_expire=rfc3339(expiry.not_after) if expiry else "",
        recovery=recovery_status(assessment, plan, before.recovery),
        restore=restore_status(assessment, plan, before.restore),
        authority=_authority(observed.authority),
        peer_authority=_authority(observed.peer_authority),
    )


def refused(error: InvalidResource, previous: Status | None, now: float) -> Status:
    """Return the status of an invalid resource: the last known status, with the errors in the condition Accepted."""
    before = previous or Status()
    known = {one.type: ConditionState(one.status, one.reason, one.message) for one in before.conditions}
    unseen = ConditionState("Unknown", "NotAccepted", "the cluster is not observed until the resource is valid")
    states = {kind: known.get(kind, unseen) for kind in TYPES}
    message = "; ".join(str(one) for one in error.errors)
    states["Accepted"] = ConditionState("False", "InvalidSpec", message)
    states["Ready"] = ConditionState("False", "NotAccepted", "the resource is invalid, see condition Accepted")
    generation = error.generation or before.observed_generation
    conditions = conditions_from(states, before, generation, now)
    return msgspec.structs.replace(before, observed_generation=generation, conditions=conditions)


def _state_of(before: Status, kind: str) -> ConditionState | None:
    found = before.condition(kind)
    return None if found is None else ConditionState(found.status, found.reason, found.message)


class Conditioned(Protocol):
    """A status that has conditions."""

    def condition(self, kind: str) -> Condition | None:
        """Return a condition by its type."""


def conditions_from(
    states: Mapping[str, ConditionState], before: Conditioned, generation: int, now: float
) -> tuple[Condition, ...]:
    """Return conditions in these states; `now`, in Unix seconds, is the transition time of those that changed."""
    conditions = []
    for kind, state in states.items():
        old = before.condition(kind)
        since = old.last_transition_time if old is not None and old.status == state.status else rfc3339(now)
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


def _leaderless_s(before: Status, now: float) -> float | None:
    available = before.condition("Available")
    if available is None or available.status != "True":
        return None
    waiting = next((step for step in before.plan if step.step == AWAIT_LEADER), None)
    return now - seconds(waiting.since) if waiting is not None else 0.0


def _planned(step: Step, before: Status, now: str) -> PlannedStep:
    since = now
    for old in before.plan:
        # Whatever contradicts the leader from one moment to the next, the time without a trusted one goes on.
        same_blocker = old.blocked_by == _shortened(step.blocked_by) or step.name == AWAIT_LEADER
        if (old.step, old.subject) == (step.name, _shortened(step.subject)) and same_blocker:
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
    view = assessment.view
    names = {member.node_id: member.name or member.node_id for member in (*view.members, *view.reads)}

    def named(ids: tuple[NodeId, ...]) -> tuple[str, ...]:
        return tuple(member_name for one, member_name in names.items() if one in ids)[:MEMBERS_MAX]

    return ConfigurationStatus(
        index=configuration.index,
        joint=configuration.joint,
        voters=named(configuration.voters),
        outgoing=named(configuration.outgoing),
        learners=named(configuration.learners),
    )


def _authority(found: Authority | None) -> AuthorityStatus:
    if found is None or not found.trusted:
        return AuthorityStatus()
    signs, *others = found.trusted
    other = others[0] if others else None
    return AuthorityStatus(
        phase=found.phase.value,
        key=signs.key,
        expires=rfc3339(signs.not_after),
        other_key=other.key if other else "",
        other_expires=rfc3339(other.not_after) if other else "",
    )


def _size(volume: Volume | Absent | Unknown) -> int:
    """Return the size of a volume in bytes: the requested one, too, which the storage provider may still reach."""
    return max(volume.size_bytes or 0, volume.capacity_bytes) if isinstance(volume, Volume) else 0


def _version(observed: Observed) -> str:
    return ", ".join(sorted({node.version for node in observed.nodes() if node.version}))


def _unhealthy_since(assessment: Assessment, before: Status, now: str) -> dict[int, str]:
    """Return since when each unhealthy desired member is unhealthy, by ordinal."""
    known = {member.name: member.unhealthy_since for member in before.members if member.unhealthy_since}
    names = [one.name for one in ailments(assessment, {})]
    return {
        ordinal: known.get(name, now)
        for ordinal in assessment.desired_ordinals()
        if (name := assessment.name(ordinal)) in names
    }


def _pods(observed: Observed) -> list[Pod]:
    return [slot.pod for slot in observed.slots if isinstance(slot.pod, Pod)]


def _member(assessment: Assessment, slot: Slot, unhealthy_since: str) -> MemberStatus:
    name, pod = assessment.name(slot.ordinal), slot.pod if isinstance(slot.pod, Pod) else None
    node = responding_node(slot, assessment.observed.cluster_id)
    members = assessment.view.members_at(slot.ordinal)
    member = assessment.view.member(node.node_id) if node else next(iter(members), None)
    shown = min(node.tls.certificates(), key=lambda one: one.not_after) if node and node.tls else None
    expiry = shown.not_after if shown else node.certificate_not_after if node else 0.0
    return MemberStatus(
        name=name,
        ordinal=slot.ordinal,
        pod_uid=pod.uid if pod else "",
        node_id=node.node_id if node else member.node_id if member else "",
        role=_role(assessment, member),
        group=assessment.desired.group,
        staleness_seconds=_staleness_s(node),
        ready=pod.ready if pod else False,
        lag=coarse_lag(member.lag if member else None),
        version=node.version if node else "",
        updated=pod is not None and pod.revision == revision(assessment.desired),
        restarts=pod.restarts if pod else 0,
        volume=slot.volume.name if isinstance(slot.volume, Volume) else "",
        capacity=slot.volume.capacity_bytes if isinstance(slot.volume, Volume) else 0,
        certificate_expires=rfc3339(expiry) if expiry else "",
        certificate_serial=shown.serial if shown else "",
        certificate_authority=shown.authority if shown else "",
        address=pod.http_address if pod else "",
        unhealthy_since=unhealthy_since,
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
        return "ReadReplica" if assessment.desired.group == "reads" else "Learner"
    if not configuration.joint or (member.node_id in configuration.voters and member.node_id in configuration.outgoing):
        return "Voter"
    return "Incoming" if member.node_id in configuration.voters else "Outgoing"


def _staleness_s(node: NodeStatus | None) -> int:
    """Return a staleness above the bound of the node, coarse: it grows with every second."""
    if node is None or node.staleness_ms is None or node.staleness_ms <= (node.staleness_max_ms or 0):
        return 0
    return one_digit(node.staleness_ms // 1_000)


def _message(assessment: Assessment, slot: Slot, name: str) -> str:
    if slot.ordinal in assessment.desired_ordinals():
        kept = slot.pod.gated if isinstance(slot.pod, Pod) else isinstance(slot.pod, Absent)
        if kept and is_fenced(assessment.desired, name):
            return "fenced: it is kept from running, with its volume"
        if kept and assessment.desired.spec.asleep:
            return "hibernated: it is kept from running, with its volume"
        return unhealthy_reason(slot, name, assessment.observed.cluster_id)
    if isinstance(slot.pod, Pod | Unknown):
        return "no longer part of the desired state"
    return (
        "removed from the cluster, its volume is retained"
        if isinstance(slot.volume, Volume) and slot.volume.removed
        else ""
    )


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 3] + "..."
