"""The status of a cluster: conditions, members, fault tolerance and the plan. Pure: the time is an argument.

Two statuses of an unchanged cluster are equal, so that an idle cluster causes no writes to the API server: timestamps
change only together with their subject, and a lag is reported only above a threshold and rounded.
"""

from __future__ import annotations

import msgspec

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.assessment import (
    Assessment,
    is_serving,
)
from collectionstore_operator.model.certificate_lifetimes import first_expiry
from collectionstore_operator.model.observed import (
    Absent,
    Authority,
    NodeId,
    Observed,
    Pod,
    Unknown,
    Volume,
)
from collectionstore_operator.model.plan import AWAIT_LEADER, Plan, Step
from collectionstore_operator.model.recovery import published_as
from collectionstore_operator.model.released import delete_at, kept_because, released
from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.resource import labels
from collectionstore_operator.status.access.condition import ACCESS_CONFIGURED, access_configured
from collectionstore_operator.status.ailments import ailments
from collectionstore_operator.status.backup_condition import BACKUP_READY, backup_ready
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.conditions import TYPES, evaluate, member_ready
from collectionstore_operator.status.history import History, electing
from collectionstore_operator.status.member_report import member_status
from collectionstore_operator.status.published import (
    MEMBERS_MAX,
    STEPS_MAX,
    AuthorityStatus,
    ConfigurationStatus,
    PlannedStep,
    ReleasedVolume,
    Status,
    shortened,
)
from collectionstore_operator.status.published_conditions import conditions_from
from collectionstore_operator.status.recovery_status import recovery_status
from collectionstore_operator.status.restore_status import restore_status


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
    access = access_configured(assessment, plan, _state_of(before, ACCESS_CONFIGURED))
    if access is not None:
        states[ACCESS_CONFIGURED] = access
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
        image=shortened(", ".join(sorted({pod.image for pod in _pods(observed) if pod.image}))),
        members=(
            *(member_status(assessment, slot, unhealthy_since.get(slot.ordinal, "")) for slot in assessment.slots()),
            *((member_status(reads, slot, "") for slot in reads.slots()) if reads else ()),
        )[:MEMBERS_MAX],
        plan=tuple(_planned(step, before, now) for step in plan.steps[:STEPS_MAX]),
        steps_omitted=max(0, len(plan.steps) - STEPS_MAX),
        released_volumes=tuple(
            ReleasedVolume(
                name=volume.name,
                released_at=rfc3339(volume.released_at) if volume.released_at else "",
                delete_at=rfc3339(due) if (due := delete_at(assessment, volume)) is not None else "",
                capacity=volume.capacity_bytes,
                message=shortened(kept_because(assessment, slot, volume)),
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
        same_blocker = old.blocked_by == shortened(step.blocked_by) or step.name == AWAIT_LEADER
        if (old.step, old.subject) == (step.name, shortened(step.subject)) and same_blocker:
            since = old.since
    return PlannedStep(
        step=step.name,
        subject=shortened(step.subject),
        reason=shortened(step.reason),
        blocked_by=shortened(step.blocked_by),
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
