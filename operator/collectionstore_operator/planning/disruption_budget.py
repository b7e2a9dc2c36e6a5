"""How many pods a drain may evict concurrently, from the live voters. Pure."""

from __future__ import annotations

from collectionstore_operator.model import quorum
from collectionstore_operator.model.assessment import Assessment, MemberView, is_serving, replaced_members


def max_unavailable(assessment: Assessment) -> int | None:
    """Return how many members a drain may evict concurrently, from the live voters; None while it must not change.

    At most one, so that a drain never meets a restart of ours at the edge of the quorum. A budget counts pods: a voter
    that is lost though the pod in its place is ready, as while its successor learns, is taken off here. A cluster that
    was asked to be of one member is not protected, or its machine could never be drained.
    """
    view = assessment.view
    if assessment.desired.spec.replicas == 1:
        return 1
    if not view.maybe_initialized:
        return 0
    if not view.trusted:
        exists = any(one.kind == "PodDisruptionBudget" for one in assessment.observed.objects or ())
        return None if exists else 0
    tolerance = min(quorum.full_tolerance(len(half)) for half in quorum.halves(view.configuration))
    return max(0, min(1, tolerance - sum(_lost_but_ready(assessment, member) for member in view.members)))


def _lost_but_ready(assessment: Assessment, member: MemberView) -> bool:
    """Whether a voter cannot be counted on, and no pod that is not ready shows it."""
    if not member.voter or member.in_sync:
        return False
    if member.ordinal is None:
        return True
    return member in replaced_members(assessment, member.ordinal) or is_serving(
        assessment.observed.slot(member.ordinal).pod
    )
