"""Conditions as they are published: the time of a transition is that of the last change of the status. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.published import Condition, shortened


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
                message=shortened(state.message),
                observed_generation=generation,
                last_transition_time=since,
            )
        )
    return tuple(conditions)
