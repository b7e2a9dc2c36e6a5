"""A plan as rows for people: the order of each step, its object, and whether it disturbs the cluster. Pure."""

from __future__ import annotations

from itertools import islice
from typing import Final

import msgspec

from collectionstore_operator.model.actions import (
    Bootstrap,
    ChangeVoters,
    DeleteReleased,
    DiscardVolumes,
    RecordRecovery,
    RemoveLearners,
    ReplaceWorkload,
    RestartPod,
    RetireVolume,
    ScaleWorkload,
    StopPod,
    TransferLeadership,
    disruptive,
)
from collectionstore_operator.model.plan import Plan

DISRUPTIVE_NAMES: Final = frozenset(
    kind.__name__
    for kind in (
        Bootstrap,
        ChangeVoters,
        DeleteReleased,
        DiscardVolumes,
        RecordRecovery,
        RemoveLearners,
        ReplaceWorkload,
        RestartPod,
        RetireVolume,
        ScaleWorkload,
        StopPod,
        TransferLeadership,
    )
)
"""Steps whose actions are disruptive, where the actions themselves are not planned yet: those of `disruptive`."""


class PreviewStep(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One step of a plan that is only shown."""

    order: int
    """From 1."""
    step: str
    subject: str
    reason: str
    disruptive: bool
    """A healthy member is unavailable for a while, or may be."""
    waits_for: str
    """Why it cannot be the next; empty if it is performed at once."""


def preview(plan: Plan) -> tuple[PreviewStep, ...]:
    """Return the steps of a plan, in the order in which they are performed."""
    actions = iter(plan.actions)
    found = []
    for order, step in enumerate(plan.steps, 1):
        planned = tuple(islice(actions, step.action_count))
        found.append(
            PreviewStep(
                order=order,
                step=step.name,
                subject=step.subject,
                reason=step.reason,
                disruptive=any(map(disruptive, planned)) if planned else step.name in DISRUPTIVE_NAMES,
                waits_for=step.blocked_by,
            )
        )
    return tuple(found)
