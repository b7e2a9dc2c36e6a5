"""The condition BackupReady: only of clusters that have a schedule of backups. Pure."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.model.observed import ScheduleFreshness
from collectionstore_operator.status.condition_state import ConditionState

BACKUP_READY: Final = "BackupReady"


def backup_ready(
    schedules: tuple[ScheduleFreshness, ...] | None, before: ConditionState | None
) -> ConditionState | None:
    """Return whether every schedule has a fresh backup; None for a cluster without schedules.

    `before` is the condition as it was: it stays while the schedules cannot be read.
    """
    if schedules is None:
        return before
    if not schedules:
        return None
    for wanted in ("False", "Unknown"):
        for one in schedules:
            if one.fresh == wanted:
                return ConditionState(one.fresh, one.reason, f"{one.name}: {one.message}")
    named = ", ".join(one.name for one in schedules)
    return ConditionState("True", "BackupsFresh", f"the newest backup of each schedule is fresh: {named}")
