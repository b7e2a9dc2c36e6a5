"""The status of a cluster whose rounds fail: what was last known, and that nobody knows whether it still holds. Pure.

A condition that is not looked at any more is worse than none: it says that all is well while nobody looks.
"""

from __future__ import annotations

from typing import Final

import msgspec

from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.conditions import TYPES
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.published_conditions import conditions_from

STALE_S: Final = 60.0
"""Rounds that fail for longer than this leave nothing that may still be called known: four idle rounds."""
KEPT: Final = ("Accepted", "Paused")
"""Conditions about the resource alone: they hold whether or not the cluster can be observed."""


def stale(previous: Status, seconds: float, trouble: str, now: float) -> Status:
    """Return the last status with every condition about the cluster Unknown; `trouble` ended the last round.

    The same for the whole time that rounds fail for the same reason, so that it is written once.
    """
    message = f"no round has observed the cluster for more than {int(seconds)} s: {trouble}"
    unknown = ConditionState("Unknown", "RoundsFailing", message)
    known = {
        one.type: ConditionState(one.status, one.reason, one.message) for one in previous.conditions if one.type in KEPT
    }
    states = {kind: known.get(kind, unknown) for kind in TYPES}
    conditions = conditions_from(states, previous, previous.observed_generation, now)
    return msgspec.structs.replace(previous, conditions=conditions)
