"""Members that a user keeps from running, by annotation: stopped, with their volumes, and not replaced. Pure.

    collectionstore.io/fence: "shop-2"            or several, separated by commas

A fenced member stays in the configuration, so the others must be a quorum without it. It leads no more BEFORE it stops.

A StatefulSet starts a pod again whatever is done to it, so the pod is kept from being scheduled:
1. the template gets a scheduling gate, which pods have from their creation on (KEP-3521);
2. AFTER the controller knows that template, the pod is evicted: the next one of its name waits at the gate;
3. the template loses the gate again (`workload.ensure`), so that other pods start as ever.
The end of a fence removes the gate from the pod, and it starts. So does a pod of another member that was created
between 1 and 3. A fenced pod that somebody deletes comes back without a gate, and all of this begins again.
Where processes are started by us and by no controller (local), the process is stopped and not started.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collectionstore_operator.model import quorum
from collectionstore_operator.model.actions import GateWorkload, ReleasePod, RestartPod, StopPod
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.fences import fenced_members, is_fenced
from collectionstore_operator.model.observed import Absent, Pod, Slot, Unknown, Workload
from collectionstore_operator.model.plan import Proposal, postpone, postponed, propose
from collectionstore_operator.planning.disruption_budget import max_unavailable
from collectionstore_operator.planning.leadership import transfer_leadership
from collectionstore_operator.planning.rollout import unsafe_to_restart
from collectionstore_operator.resource import labels

STEP: Final = "FenceMember"
_REASON: Final = f"the annotation {labels.FENCE} keeps it from running"


def release(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to let gated pods start whose members are not fenced, or not any more."""
    for slot in assessment.observed.slots:
        pod, name = slot.pod, assessment.name(slot.ordinal)
        waits = isinstance(pod, Pod) and pod.gated and not pod.awaits_restore  # which is `restore.release`'s
        if isinstance(pod, Pod) and waits and not pod.terminating and not is_fenced(assessment.desired, name):
            reason = "its member is not fenced"
            yield propose(ReleasePod(ordinal=slot.ordinal, name=name, uid=pod.uid, reason=reason), subject=name)


def gate_is_needed(assessment: Assessment) -> bool:
    """Return whether a pod is about to be stopped, or its successor to be created: until then the template is gated."""
    return any(
        (isinstance(slot.pod, Absent) or (isinstance(slot.pod, Pod) and slot.pod.terminating))
        or (_runs(slot) and not _blocker(assessment, slot))
        for slot in _slots(assessment)
    )


def fence(assessment: Assessment) -> Iterator[Proposal]:
    """Propose the next step towards fenced members that run; blocked if the others cannot do without one."""
    workload = assessment.observed.workload
    for name in fenced_members(assessment.desired):
        ordinal = assessment.desired.ordinal(name)
        if ordinal is None or ordinal not in assessment.desired_ordinals():
            allowed = ", ".join(assessment.name(one) for one in assessment.desired_ordinals())
            yield postpone(STEP, reason=_REASON, blocked_by=f"{name!r} is not a member; allowed: {allowed}")
    for slot in _slots(assessment):
        if not _runs(slot) or not isinstance(slot.pod, Pod) or not isinstance(workload, Workload):
            continue
        name, blocker = assessment.name(slot.ordinal), _blocker(assessment, slot)
        leads = any(assessment.view.is_leader(member.node_id) for member in assessment.view.members_at(slot.ordinal))
        if leads and not blocker:
            yield transfer_leadership(assessment, assessment.view.members, reason=f"the leader {name} is to be fenced")
            blocker = "it must transfer leadership first"
        proposal = _stop(assessment, slot, slot.pod, workload)
        yield postponed(proposal, blocker) if blocker else proposal


def _stop(assessment: Assessment, slot: Slot, pod: Pod, workload: Workload) -> Proposal:
    name = assessment.name(slot.ordinal)
    if workload.gated is None:
        return propose(StopPod(ordinal=slot.ordinal, name=name, uid=pod.uid, reason=_REASON), subject=name, name=STEP)
    if not workload.gated:
        return propose(GateWorkload(reason=_REASON), subject=name, name=STEP)
    if not workload.settled:
        waits = "the controller of the pods must have seen the gate first"
        return postpone(STEP, reason=_REASON, blocked_by=waits, subject=name)
    evict = max_unavailable(assessment) == 1
    action = RestartPod(ordinal=slot.ordinal, name=name, uid=pod.uid, evict=evict, reason=_REASON)
    return propose(action, subject=name, name=STEP)


def _slots(assessment: Assessment) -> list[Slot]:
    """Return the desired ordinals that are fenced."""
    ordinals = [one for one in assessment.desired_ordinals() if is_fenced(assessment.desired, assessment.name(one))]
    return [assessment.observed.slot(ordinal) for ordinal in ordinals]


def _runs(slot: Slot) -> bool:
    return isinstance(slot.pod, Pod) and not slot.pod.gated and not slot.pod.terminating


def _blocker(assessment: Assessment, slot: Slot) -> str:
    """Return why a member must not be stopped now; empty if the others are a quorum without it."""
    view = assessment.view
    if not view.initialized:
        return "the cluster has not been bootstrapped yet"
    if isinstance(slot.pod, Unknown):
        return f"its pod cannot be observed: {slot.pod.reason}"
    mine = {member.node_id for member in view.members_at(slot.ordinal)}
    blocker = unsafe_to_restart(assessment, slot)
    if not blocker and view.maybe_initialized and not quorum.has_quorum(view.configuration, view.in_sync_voters - mine):
        return "the others are no quorum without it"
    return blocker
