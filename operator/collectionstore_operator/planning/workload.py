"""How many pods are kept running, and with which settings they start. Pure.

The number follows the wish upwards at once, and downwards only after the members have left: a pod whose incarnation
is in the configuration, or may be, is never taken away by a smaller number.
"""

from __future__ import annotations

from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.model.actions import EnsureWorkload, Proposal, StartPod, postpone, propose
from collectionstore_operator.model.assessment import Assessment, change_blocked_by
from collectionstore_operator.model.observed import Absent, Pod, Slot, Unknown, Volume, Workload
from collectionstore_operator.planning.volumes import clear_for_start, mark_removed


def size(assessment: Assessment) -> int:
    """Return how many pods are needed now: the wanted ones, and those of members that have yet to leave."""
    view, workload = assessment.view, assessment.observed.workload
    wanted = assessment.desired.spec.replicas
    kept = workload.replicas if isinstance(workload, Workload) else _present(assessment)
    if not view.maybe_initialized:
        # Nobody has left yet whose disk could be marked; surplus pods go once the cluster is formed.
        return max(wanted, kept)
    if view.trusted:
        ordinals = [member.ordinal for member in view.members]
        needed = 1 + max((ordinal for ordinal in ordinals if ordinal is not None), default=0)
        # A member without a known place may be in any pod: keep them all.
        return max(wanted, needed, kept if None in ordinals else 0)
    used = (slot.ordinal for slot in assessment.observed.slots if _may_hold_member(slot))
    return max(wanted, kept, 1 + max(used, default=-1))


def _present(assessment: Assessment) -> int:
    """Return up to which ordinal there are pods that nobody has stopped.

    A workload that is made anew over pods that exist stops those above its number.
    """
    return 1 + max((slot.ordinal for slot in assessment.observed.slots if _is_present(slot)), default=-1)


def _is_present(slot: Slot) -> bool:
    return isinstance(slot.pod, Unknown) or (isinstance(slot.pod, Pod) and not slot.pod.terminating)


def _may_hold_member(slot: Slot) -> bool:
    volume = slot.volume
    if isinstance(volume, Volume):
        return not volume.removed and not isinstance(volume.node_id, Absent)
    return isinstance(volume, Unknown)


def ensure(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to create the workload, to grow it, and to give it the current settings. Never to shrink it."""
    workload, wanted_revision = assessment.observed.workload, revision(assessment.desired)
    if isinstance(workload, Unknown):
        reason = "the workload must exist with the desired settings"
        return (
            postpone("EnsureWorkload", reason=reason, blocked_by=f"the workload cannot be observed: {workload.reason}"),
        )
    started = workload.replicas if isinstance(workload, Workload) else 0
    replicas, blockers = _startable(assessment, started)
    if isinstance(workload, Workload) and replicas == started and workload.revision == wanted_revision:
        return blockers
    if replicas == 0:
        return blockers
    action = EnsureWorkload(
        replicas=replicas, revision=wanted_revision, reason=_why(assessment, workload, replicas, wanted_revision)
    )
    return (propose(action, subject=assessment.desired.name), *blockers)


def start_idle(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to start the processes that the workload includes and no controller starts.

    Left over by a stop, or by a crash between the record of the workload and the start. Paused or not, as a
    StatefulSet's controller would.
    """
    reason = "the workload includes it, and nothing has started it"
    actions = (
        StartPod(ordinal=ordinal, name=assessment.name(ordinal), reason=reason) for ordinal in assessment.observed.idle
    )
    return tuple(propose(action, subject=action.name) for action in actions)


def _startable(assessment: Assessment, started: int) -> tuple[int, tuple[Proposal, ...]]:
    """Return how many pods may be kept running now, and what must happen before the rest may."""
    for ordinal in range(started, size(assessment)):
        slot = assessment.observed.slot(ordinal)
        if _is_present(slot) and not isinstance(slot.pod, Unknown):
            continue  # it runs on its disk already
        blocker = clear_for_start(assessment, slot)
        if blocker is not None:
            return (ordinal if ordinal >= _present(assessment) else started), (blocker,)
    return max(started, size(assessment)), ()


def _why(assessment: Assessment, workload: Workload | Absent, replicas: int, wanted_revision: str) -> str:
    if isinstance(workload, Absent):
        return f"the workload does not exist, {replicas} pods are required"
    if replicas > workload.replicas:
        return f"scaling up from {workload.replicas} to {replicas} pods"
    return f"new pods must start with revision {wanted_revision}"


def shrink(assessment: Assessment) -> tuple[Proposal, ...]:
    """Propose to stop the pods whose members have left, after their disks are marked; announce those that have not."""
    workload, replicas = assessment.observed.workload, size(assessment)
    if not isinstance(workload, Workload) or workload.replicas <= assessment.desired.spec.replicas:
        return ()
    if workload.replicas <= replicas:
        return (_still_needed(assessment, workload),)
    leaving = range(replicas, workload.replicas)
    reason = f"{replicas} pods are required, the members of the others were removed"
    names = ", ".join(assessment.name(ordinal) for ordinal in leaving)
    marks, blocker = mark_removed(assessment, leaving)
    blocker = blocker or change_blocked_by(assessment)
    if blocker:
        return (postpone("EnsureWorkload", reason=reason, blocked_by=blocker, subject=names),)
    action = EnsureWorkload(replicas=replicas, revision=workload.revision, shrinks=True, reason=reason)
    return (Proposal(step=propose(action, subject=names).step, actions=(*marks, action)),)


def _still_needed(assessment: Assessment, workload: Workload) -> Proposal:
    surplus = range(assessment.desired.spec.replicas, workload.replicas)
    names = ", ".join(assessment.name(ordinal) for ordinal in surplus)
    reason = f"spec.replicas is {assessment.desired.spec.replicas}"
    blocked_by = assessment.view.untrusted_reason or f"{names} must be removed from the cluster first"
    return postpone("EnsureWorkload", reason=reason, blocked_by=blocked_by, subject=names)
