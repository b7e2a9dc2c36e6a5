"""What is wrong with the desired members, and whether it is expected to pass by itself. Pure.

A restart, a start and a catch-up are parts of healthy changes: they become a condition only when they take too long, so
that Degraded=True always calls for action.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from collectionstore_operator.model.assessment import Assessment, unhealthy_reason
from collectionstore_operator.model.observed import Failure, Pod, Slot, Unknown
from collectionstore_operator.status.fenced import stands
from collectionstore_operator.status.hibernated import stopped

STARTING_S: Final = 120.0
"""Time for a new pod to pull its image, bind its volume and get its certificate before it counts as down."""
RECOVERY_S: Final = 60.0
"""Time for a member without a known failure to restart, to respond again or to catch up before it counts as down."""

_PASSING: Final = frozenset({Failure.NONE, Failure.SCHEDULING})
"""No known failure, or one that every new pod has for a moment: its volume is being provisioned, a machine added."""


class Ailment(msgspec.Struct, frozen=True):
    """What is wrong with one member; `cause` follows its name: `is not running: ImagePullBackOff`."""

    name: str
    cause: str
    expected: bool
    """It is expected to pass by itself: there is no known failure, and it has not lasted long."""


def ailments(assessment: Assessment, unhealthy_s: Mapping[int, float]) -> tuple[Ailment, ...]:
    """Return what is wrong, by ordinal. `unhealthy_s`: for how long, by ordinal; absent for what is new."""
    found: list[Ailment] = []
    if stopped(assessment):
        return ()
    for ordinal in assessment.desired_ordinals():
        if stands(assessment, ordinal):
            continue
        slot, name = assessment.observed.slot(ordinal), assessment.name(ordinal)
        clause = _clause(assessment, ordinal)
        if clause:
            lasted_s = max(unhealthy_s.get(ordinal, 0.0), slot.pod.unready_s if isinstance(slot.pod, Pod) else 0.0)
            patience_s = RECOVERY_S if _may_vote(assessment, ordinal) else STARTING_S
            expected = _without_failure(slot) and lasted_s < patience_s
            found.append(Ailment(name, clause.removeprefix(f"{name} "), expected))
    return tuple(found)


def _may_vote(assessment: Assessment, ordinal: int) -> bool:
    """Return whether a member is a voter, or the configuration is unknown, and it may have been one for years."""
    view = assessment.view
    unknown = view.initialized and not view.configuration.voters
    return unknown or any(member.voter for member in view.members_at(ordinal))


def described(found: Iterable[Ailment]) -> str:
    """Return one clause per cause: an image that cannot be pulled is told once, not for each member."""
    names: dict[str, list[str]] = {}
    for one in found:
        names.setdefault(one.cause, []).append(one.name)
    return "; ".join(_clause_of(together, cause) for cause, together in names.items())


def _clause_of(names: list[str], cause: str) -> str:
    if cause.startswith("the pod "):
        return cause
    return f"{names[0]} {cause}" if len(names) == 1 else f"{', '.join(names)}: {cause.removeprefix('is ')}"


def _clause(assessment: Assessment, ordinal: int) -> str:
    """Return why a member is unhealthy; for a future member, only why its pod cannot start."""
    slot, name = assessment.observed.slot(ordinal), assessment.name(ordinal)
    members = assessment.view.members_at(ordinal)
    if not any(member.voter for member in members) and (
        any(member.recently_active for member in members) or _starting(assessment, slot)
    ):
        # A pod that no machine takes is named at once, although it may be one whose volume is being provisioned.
        unscheduled = isinstance(slot.pod, Pod) and slot.pod.failure is Failure.SCHEDULING
        return unhealthy_reason(slot, name, assessment.observed.cluster_id, detailed=True) if unscheduled else ""
    reason = unhealthy_reason(slot, name, assessment.observed.cluster_id, detailed=True)
    if reason or not assessment.view.trusted or any(member.in_sync for member in members):
        return reason
    return f"{name} has not joined the cluster yet" if not members else f"{name} has not caught up yet"


def _starting(assessment: Assessment, slot: Slot) -> bool:
    """Return whether a pod has no known failure and has not had the time to become ready."""
    view = assessment.view
    if view.initialized and not view.configuration.voters:
        return False  # the configuration is unknown: it may have been a member for years
    if isinstance(slot.pod, Unknown) or slot.pending_failed:
        return False
    return not isinstance(slot.pod, Pod) or (slot.pod.failure in _PASSING and slot.pod.unready_s < STARTING_S)


def _without_failure(slot: Slot) -> bool:
    if slot.pending_failed:
        return False
    return not isinstance(slot.pod, Pod) or slot.pod.failure in _PASSING
