"""Members whose claim is being deleted: replaced before a restart of their pod would lose the volume. Pure.

A claim that a pod uses is deleted only when that pod has ended (the finalizer `kubernetes.io/pvc-protection`), and a
deletion cannot be taken back. Until then the member works as before; whatever restarts its pod takes its volume away.
So the member is replaced at a time of our choosing: while every other voter is in sync, and nothing is lost with it.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model import quorum
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Pod, Slot, Volume
from collectionstore_operator.model.plan import Proposal
from collectionstore_operator.planning.leadership import transfer_leadership
from collectionstore_operator.planning.replacement import copies_first
from collectionstore_operator.planning.rollout import unsafe_to_restart
from collectionstore_operator.planning.volumes import retire


def is_endangered(slot: Slot) -> bool:
    """Return whether a pod runs on a claim that is being deleted."""
    pod, volume = slot.pod, slot.volume
    return isinstance(volume, Volume) and volume.terminating and isinstance(pod, Pod) and not pod.terminating


def replace(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to replace such members, one at a time, a leader after a transfer; blocked while others are needed."""
    if not assessment.view.maybe_initialized:
        return
    for slot in assessment.observed.slots:
        if not is_endangered(slot) or slot.ordinal not in assessment.desired_ordinals():
            continue
        if copies_first(assessment, slot):
            continue
        name, blocker = assessment.name(slot.ordinal), _blocker(assessment, slot)
        leads = any(assessment.view.is_leader(member.node_id) for member in assessment.view.members_at(slot.ordinal))
        if leads and not blocker:
            reason = f"the claim of the leader {name} is being deleted"
            yield transfer_leadership(assessment, assessment.view.members, reason=reason)
            blocker = "it must transfer leadership first"
        reason = f"the claim of {name} is being deleted: the next restart of its pod would lose the volume"
        yield retire(assessment, slot, reason=reason, blocker=blocker, step="ReplaceMember")


def _blocker(assessment: Assessment, slot: Slot) -> str:
    """Return why a member must not be replaced now; empty if the others have all that it has."""
    view, pod = assessment.view, slot.pod
    asked = isinstance(pod, Pod) and pod.replace_requested
    if assessment.desired.spec.failed_member.replacement == "Manual" and not asked:
        return "spec.failedMember.replacement is Manual"
    if view.untrusted_reason:
        return view.untrusted_reason
    mine = {member.node_id for member in view.members_at(slot.ordinal)}
    if not quorum.has_quorum(view.configuration, view.in_sync_voters - mine):
        return "no quorum has its data without it: add members, or bring the others back, before its pod restarts"
    return unsafe_to_restart(assessment, slot)
