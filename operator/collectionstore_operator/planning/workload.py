"""How many pods are kept running, and with which settings they start. Pure.

The number follows the wish upwards at once, and downwards only after the members have left: a pod whose incarnation
is in the configuration, or may be, is never taken away by a smaller number.
"""

from __future__ import annotations

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import EnsureWorkload, Proposal, postpone, propose
from collectionstore_operator.model.assessment import Situation, waiting_for
from collectionstore_operator.model.observed import Absent, Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.planning.volumes import clear_for_start, mark_removed


def size(situation: Situation) -> int:
    """Return how many pods are needed now: the wanted ones, and those of members that have yet to leave."""
    standing, workload = situation.standing, situation.observed.workload
    wanted = situation.desired.spec.replicas
    kept = workload.replicas if isinstance(workload, Workload) else _present(situation)
    if not standing.formed:
        # Nobody has left yet whose disk could be marked; surplus pods go once the cluster is formed.
        return max(wanted, kept)
    if standing.trusted:
        ordinals = [seat.ordinal for seat in standing.seats]
        needed = 1 + max((ordinal for ordinal in ordinals if ordinal is not None), default=0)
        # A member without a known place may be in any pod: keep them all.
        return max(wanted, needed, kept if None in ordinals else 0)
    used = (slot.ordinal for slot in situation.observed.slots if _may_hold_member(slot))
    return max(wanted, kept, 1 + max(used, default=-1))


def _present(situation: Situation) -> int:
    """Return up to which ordinal there are pods that nobody has stopped.

    A workload that is made anew over pods that exist stops those above its number.
    """
    return 1 + max((slot.ordinal for slot in situation.observed.slots if _is_present(slot)), default=-1)


def _is_present(slot: Slot) -> bool:
    return isinstance(slot.pod, Unknown) or (isinstance(slot.pod, Pod) and not slot.pod.terminating)


def _may_hold_member(slot: Slot) -> bool:
    volume = slot.volume
    if isinstance(volume, Volume):
        return not volume.removed and not isinstance(volume.node_id, Absent)
    return isinstance(volume, Unknown)


def ensure(situation: Situation) -> tuple[Proposal, ...]:
    """Propose to create the workload, to grow it, and to give it the current settings. Never to shrink it."""
    workload, wanted_revision = situation.observed.workload, revision(situation.desired)
    if isinstance(workload, Unknown):
        reason = "its pods are to be kept running"
        return (postpone("EnsureWorkload", reason=reason, blocked_by=f"it cannot be seen: {workload.reason}"),)
    started = workload.replicas if isinstance(workload, Workload) else 0
    replicas, obstacles = _startable(situation, started)
    if isinstance(workload, Workload) and replicas == started and workload.revision == wanted_revision:
        return obstacles
    if replicas == 0:
        return obstacles
    action = EnsureWorkload(
        replicas=replicas, revision=wanted_revision, reason=_why(situation, workload, replicas, wanted_revision)
    )
    return (propose(action, subject=situation.desired.name), *obstacles)


def _startable(situation: Situation, started: int) -> tuple[int, tuple[Proposal, ...]]:
    """Return how many pods may be kept running now, and what must happen before the rest may."""
    for ordinal in range(started, size(situation)):
        slot = situation.observed.slot(ordinal)
        if _is_present(slot) and not isinstance(slot.pod, Unknown):
            continue  # it runs on its disk already
        obstacle = clear_for_start(situation, slot)
        if obstacle is not None:
            return (ordinal if ordinal >= _present(situation) else started), (obstacle,)
    return max(started, size(situation)), ()


def _why(situation: Situation, workload: Workload | Absent, replicas: int, wanted_revision: str) -> str:
    if isinstance(workload, Absent):
        return f"{replicas} pods are to be kept running"
    if replicas > workload.replicas:
        return f"it grows from {workload.replicas} to {replicas} pods"
    return f"pods started from now on have the settings of revision {wanted_revision}"


def shrink(situation: Situation) -> tuple[Proposal, ...]:
    """Propose to stop the pods whose members have left, after their disks are marked; announce those that have not."""
    workload, replicas = situation.observed.workload, size(situation)
    if not isinstance(workload, Workload) or workload.replicas <= situation.desired.spec.replicas:
        return ()
    if workload.replicas <= replicas:
        return (_still_needed(situation, workload),)
    leaving = range(replicas, workload.replicas)
    reason = f"{replicas} pods are needed, the members in the others have left"
    names = ", ".join(situation.name(ordinal) for ordinal in leaving)
    marks, obstacle = mark_removed(situation, leaving)
    obstacle = obstacle or waiting_for(situation)
    if obstacle:
        return (postpone("EnsureWorkload", reason=reason, blocked_by=obstacle, subject=names),)
    action = EnsureWorkload(replicas=replicas, revision=workload.revision, shrinks=True, reason=reason)
    return (Proposal(step=propose(action, subject=names).step, actions=(*marks, action)),)


def _still_needed(situation: Situation, workload: Workload) -> Proposal:
    surplus = range(situation.desired.spec.replicas, workload.replicas)
    names = ", ".join(situation.name(ordinal) for ordinal in surplus)
    reason = f"{situation.desired.spec.replicas} replicas are wanted"
    blocked_by = situation.standing.doubt or f"{names} must leave the cluster first"
    return postpone("EnsureWorkload", reason=reason, blocked_by=blocked_by, subject=names)
