"""Read replicas: members without a vote, in a workload of their own. Pure.

They go through the planner of the voters, with an assessment of their own (`Assessment.reads`): the same steps start
and stop their pods, mark and replace their volumes. What differs is here. Invariants:
- no step here adds a vote: read replicas are joined, replaced and removed as learners, and nothing else;
- no step here waits for a quorum of them, and none of them counts for one of the voters;
- they are restarted for a new revision before the voters are, one at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from collectionstore_operator import manifests
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import (
    Action,
    DeleteObject,
    EnsureWorkload,
    MarkVolume,
    ReplaceWorkload,
    RestartPod,
    RetireVolume,
)
from collectionstore_operator.model.assessment import Assessment, is_serving, unhealthy_reason
from collectionstore_operator.model.observed import Absent, Failure, Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.model.plan import Proposal, postpone, postponed, propose
from collectionstore_operator.model.pods import outdated
from collectionstore_operator.model.update_windows import update_held
from collectionstore_operator.planning import (
    endangered,
    labelling,
    membership,
    objects,
    records,
    retention,
    teardown,
    volume_expansion,
    volumes,
    workload,
)
from collectionstore_operator.planning.ownership import holds_claim, holds_pod

RETURN_S: Final = 60.0
"""For this long a restarted read replica may be unready before the rollout goes on without it, also to others."""
_OF_THE_REVISION: Final = frozenset({Failure.IMAGE, Failure.CONFIGURATION, Failure.CRASH, Failure.DOWNGRADED})
"""Failures that a voter would have, too, once it runs the same revision."""
_STATEFUL_SET: Final = "StatefulSet"


def upkeep(assessment: Assessment) -> Iterator[Proposal]:
    """Yield what is done for read replicas in every state of the cluster."""
    reads = assessment.reads()
    if reads is None:
        return
    yield from _of_reads(retention.protect(reads))
    if assessment.observed.cluster_id and assessment.observed.stamps_volumes:
        yield from _of_reads(records.stamp(reads))
    if not teardown.due(assessment):
        yield from _of_reads(workload.start_idle(reads))
        yield from _of_reads(workload.stop_surplus(reads))


def tear_down(assessment: Assessment) -> Iterator[Proposal]:
    """Stop all read replicas of a cluster that is being deleted, then delete their volumes if the resource says so."""
    reads = assessment.reads()
    if reads is not None:
        yield from _of_reads(teardown.tear_down(reads))


def ensure(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the objects and the workload of read replicas. Not before the cluster has data: they only replicate it."""
    reads = assessment.reads()
    if reads is None or not assessment.view.initialized:
        return
    yield from _of_reads(labelling.restore(reads))
    yield from _of_reads(retention.release(reads))
    if not _present(reads):
        return
    yield from _of_reads(objects.apply_with(reads, max_unavailable(reads)))
    yield from _of_reads(workload.ensure(reads))


def maintain(assessment: Assessment) -> Iterator[Proposal]:
    """Yield what repairs, adds and removes read replicas. AFTER the repair of voters, which is more urgent."""
    reads = assessment.reads()
    if reads is None or not assessment.view.initialized:
        return
    yield from _of_reads(_restart_broken(reads))
    yield from _of_reads(volumes.force_delete_stuck(reads))
    yield from _of_reads(volumes.clear_stale(reads))
    yield from _of_reads(membership.held(reads, membership.drop_learners(reads)))
    yield from _of_reads(volumes.replace_failed(reads))
    yield from _of_reads(_replace_endangered(reads))
    yield from _of_reads(membership.held(reads, membership.add_learners(reads)))
    yield from _of_reads(workload.shrink(reads))
    yield from _of_reads(_mark_left(reads))
    if isinstance(reads.observed.workload, Workload):
        yield from _of_reads(volumes.discard_removed(reads, reads.observed.workload))
    yield from _of_reads(volume_expansion.grow(reads))
    # By the revision of the voters: it is the one in the status, which a user approves.
    if not update_held(
        assessment.desired, revision(assessment.desired), assessment.observed.now, assessment.observed.zones
    ):
        yield from _of_reads(_restart_healthy(reads))
    yield from _of_reads(volume_expansion.renew_template(reads))
    yield from _of_reads(_clear_away(reads))
    yield from _voting(reads)
    yield from _await(reads)


def leave(assessment: Assessment, *, step: str) -> Iterator[Proposal]:
    """Yield what stops the read replicas and sets their volumes aside, each kept; nothing once there are none.

    For a cluster that ends, whose log they must not go on with: those of the next one start on empty volumes. Every
    step follows from what is observed, so that another operator goes on with the next.
    """
    reads = assessment.reads()
    if reads is not None:
        yield from _of_reads(_leave(reads, step))


def _leave(reads: Assessment, step: str) -> Iterator[Proposal]:
    observed, group = reads.observed, reads.desired.workload
    reason = "read replicas copy the cluster that ends: they start again, on empty volumes, as copies of the next one"
    found = observed.workload
    if isinstance(found, Unknown) and not _of_others(reads):
        yield postpone(step, reason=reason, blocked_by=f"{group} cannot be observed: {found.reason}", subject=group)
        return
    running = [
        reads.name(slot.ordinal)
        for slot in observed.slots
        if not isinstance(slot.pod, Absent) and not holds_pod(observed, reads.name(slot.ordinal))
    ]
    # Locally again while one runs: no controller stops what was left by a crash after the number was recorded.
    if isinstance(found, Workload) and (found.replicas > 0 or (running and observed.objects is None)):
        action = EnsureWorkload(replicas=0, revision=found.revision, shrinks=True, reason=reason)
        yield propose(action, subject=group, name=step)
        return
    if running:
        yield postpone(step, reason=reason, blocked_by=f"{', '.join(running)} must terminate first", subject=group)
        return
    left = [
        slot
        for slot in observed.slots
        if not isinstance(slot.volume, Absent) and not holds_claim(observed, reads.name(slot.ordinal))
    ]
    for slot in left:
        name = reads.name(slot.ordinal)
        if isinstance(slot.volume, Volume):
            retire = RetireVolume(ordinal=slot.ordinal, name=slot.volume.name, keep=True, reason=reason)
            yield propose(retire, subject=name, name=step)
        elif isinstance(slot.volume, Unknown):
            waits = f"the volume of {name} cannot be observed: {slot.volume.reason}"
            yield postpone(step, reason=reason, blocked_by=waits, subject=name)
    if not left and observed.objects is not None and isinstance(found, Workload):
        # Its claim template names the cluster that ends, and cannot be changed.
        yield propose(ReplaceWorkload(replicas=0, reason=reason), subject=group, name=step)


def _of_others(reads: Assessment) -> bool:
    return any((one.kind, one.name) == (_STATEFUL_SET, reads.desired.workload) for one in reads.observed.foreign)


def before_voters(assessment: Assessment, restarts: Iterable[Proposal]) -> Iterator[Proposal]:
    """Hold back restarts of healthy voters while read replicas are restarted for the same revision.

    A read replica that cannot run the new revision holds them for as long as it is desired: it shows what would happen
    to the voters. One that is down for another reason holds nothing.
    """
    reads = assessment.reads()
    blocker = "" if reads is None else _rolling(reads)
    for proposal in restarts:
        yield postponed(proposal, blocker) if blocker else proposal


def max_unavailable(reads: Assessment) -> int | None:
    """Return how many read replicas a drain may evict at a time; None for one alone, which no budget protects."""
    return 1 if reads.desired.spec.replicas > 1 else None


def _of_reads(proposals: Iterable[Proposal]) -> Iterator[Proposal]:
    """Say of every action that it is about read replicas."""
    for proposal in proposals:
        actions: tuple[Action, ...] = tuple(
            msgspec.structs.replace(action, group="reads") for action in proposal.actions
        )
        yield msgspec.structs.replace(proposal, actions=actions)


def _present(reads: Assessment) -> bool:
    """Return whether there are read replicas, or should be: their objects exist for as long."""
    observed = reads.observed
    running = not isinstance(observed.workload, Absent) and (
        isinstance(observed.workload, Unknown) or observed.workload.replicas > 0
    )
    pods = any(not isinstance(slot.pod, Absent) for slot in observed.slots)
    return bool(reads.desired.spec.has_read_replicas or running or pods or reads.view.members)


def _clear_away(reads: Assessment) -> Iterator[Proposal]:
    """Delete the objects of read replicas once there are none and none are desired."""
    if reads.observed.objects is None or _present(reads):
        return
    names = (*manifests.names_of_reads(reads.desired), (_STATEFUL_SET, reads.desired.workload))
    for one in reads.observed.objects:
        if (one.kind, one.name) in names:
            reason = "there are no read replicas any more"
            yield propose(DeleteObject(kind=one.kind, name=one.name, reason=reason), subject=f"{one.kind} {one.name}")


def _mark_left(reads: Assessment) -> Iterator[Proposal]:
    """Mark the volumes of read replicas that an autoscaler has removed, whose pods stopped without asking us."""
    found = reads.observed.workload
    if not reads.desired.autoscaled or not isinstance(found, Workload):
        return
    for slot in reads.observed.slots:
        if slot.ordinal < found.replicas or reads.view.members_at(slot.ordinal) or not reads.view.trusted:
            continue
        if isinstance(slot.pod, Absent) and isinstance(slot.volume, Volume) and not slot.volume.removed:
            node_id = slot.volume.node_id if isinstance(slot.volume.node_id, str) else ""
            reason = f"{reads.name(slot.ordinal)} was removed from the cluster"
            action = MarkVolume(ordinal=slot.ordinal, name=slot.volume.name, node_id=node_id, reason=reason)
            yield propose(action, subject=slot.volume.name)


def _replace_endangered(reads: Assessment) -> Iterator[Proposal]:
    """Replace read replicas whose claim is being deleted, while the others serve: a restart would lose the volume."""
    for slot in reads.observed.slots:
        if endangered.is_endangered(slot) and slot.ordinal in reads.desired_ordinals():
            reason = f"the claim of {reads.name(slot.ordinal)} is being deleted"
            blocker = _others_first(reads, slot)
            yield volumes.retire(reads, slot, reason=reason, blocker=blocker, step="ReplaceMember")


def _outdated(reads: Assessment) -> list[tuple[Slot, Pod]]:
    desired_revision = revision(reads.desired)
    return [
        (slot, slot.pod)
        for slot in reads.observed.slots
        if isinstance(slot.pod, Pod)
        and slot.ordinal in reads.desired_ordinals()
        and not slot.pod.terminating
        and outdated(slot.pod, desired_revision)
    ]


def _restart_broken(reads: Assessment) -> Iterator[Proposal]:
    """Restart outdated read replicas that serve nothing, all at once: reverting a bad image is enough."""
    for slot, pod in _outdated(reads):
        if not is_serving(pod):
            yield _restart(reads, slot, pod, "")


def _restart_healthy(reads: Assessment) -> Iterator[Proposal]:
    """Restart the next outdated read replica that serves; the others are blocked."""
    first = ""
    for slot, pod in sorted(_outdated(reads), key=lambda one: -one[0].ordinal):
        if is_serving(pod):
            yield _restart(reads, slot, pod, first or _others_first(reads, slot))
            first = first or f"one at a time, after {reads.name(slot.ordinal)}"


def _restart(reads: Assessment, slot: Slot, pod: Pod, blocker: str) -> Proposal:
    name, found = reads.name(slot.ordinal), reads.observed.workload
    desired_revision = revision(reads.desired)
    if not (isinstance(found, Workload) and found.revision == desired_revision):
        blocker = blocker or "the workload must be updated first"
    if isinstance(slot.volume, Volume) and slot.volume.terminating:
        blocker = blocker or f"the claim {slot.volume.name} is being deleted: a restart would lose the volume"
    action = RestartPod(ordinal=slot.ordinal, name=name, uid=pod.uid, reason=outdated(pod, desired_revision))
    return postponed(propose(action, subject=name), blocker) if blocker else propose(action, subject=name)


def _others_first(reads: Assessment, slot: Slot) -> str:
    """Return which other read replica must serve before this one may stop; empty if none has to.

    One that is lost for long, and not by its revision, is not waited for: voters wait for this one, and would for both.
    """
    for ordinal in reads.desired_ordinals():
        other = reads.observed.slot(ordinal)
        if ordinal == slot.ordinal or is_serving(other.pod) or _lost(other):
            continue
        name = reads.name(ordinal)
        return unhealthy_reason(other, name, reads.observed.cluster_id) or f"{name} must be ready first"
    return ""


def _lost(slot: Slot) -> bool:
    """Return whether a read replica does not serve for a cause that lasts and that its revision is not."""
    if isinstance(slot.pod, Pod):
        return slot.pod.failure not in _OF_THE_REVISION and slot.pod.unready_s >= RETURN_S
    return isinstance(slot.pod, Absent) and slot.pending_failed


def _rolling(reads: Assessment) -> str:
    """Return which read replica is to be restarted, restarting, or unable to run the revision; empty if none is."""
    desired_revision = revision(reads.desired)
    for ordinal in reads.desired_ordinals():
        slot, name = reads.observed.slot(ordinal), reads.name(ordinal)
        pod = slot.pod
        if not isinstance(pod, Pod):
            continue  # it may be about to start, or its machine is lost: neither is a reason to wait
        if is_serving(pod):
            if outdated(pod, desired_revision):
                return f"the read replica {name} is restarted first"
        elif pod.revision == desired_revision and pod.failure in _OF_THE_REVISION:
            return f"the read replica {name} cannot run the new revision: {pod.detail or pod.failure.value}"
        elif pod.failure is Failure.NONE and pod.unready_s < RETURN_S:
            return f"the read replica {name} is restarting"
    return ""


def _voting(reads: Assessment) -> Iterator[Proposal]:
    """Show read replicas that vote: another hand made them voters, and nothing here takes a vote away."""
    for member in reads.view.members:
        if member.voter:
            reason = "a read replica must have no vote"
            blocked_by = "it was promoted by another hand: demote it by a request to the leader, or keep it"
            yield postpone("DemoteVoter", reason=reason, blocked_by=blocked_by, subject=member.name)


def _await(reads: Assessment) -> Iterator[Proposal]:
    """Show the read replicas that are started and do not serve: without a step the cluster would be called settled."""
    for ordinal in reads.desired_ordinals():
        slot, name = reads.observed.slot(ordinal), reads.name(ordinal)
        if isinstance(slot.pod, Pod) and not is_serving(slot.pod):
            reason = "it must be within its bound of staleness to serve"
            blocked_by = unhealthy_reason(slot, name, reads.observed.cluster_id) or f"{name} is not ready"
            yield postpone("AwaitReadReplica", reason=reason, blocked_by=blocked_by, subject=name)
