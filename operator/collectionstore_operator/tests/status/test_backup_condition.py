"""BackupReady: only with schedules, the worst of them first, and unchanged while they cannot be read."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.model.observed import ScheduleFreshness
from collectionstore_operator.status.backup_condition import backup_ready
from collectionstore_operator.status.condition_state import ConditionState


def schedule(name: str, fresh: Any) -> ScheduleFreshness:
    return ScheduleFreshness(name=name, fresh=fresh, reason=f"Is{fresh}", message="it is so")


BEFORE = ConditionState("False", "BackupTooOld", "old")


def test_cluster_without_schedules_has_no_such_condition() -> None:
    assert backup_ready((), BEFORE) is None


def test_condition_stays_while_the_schedules_cannot_be_read() -> None:
    assert backup_ready(None, BEFORE) == BEFORE
    assert backup_ready(None, None) is None


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (["True"], "True"),
        (["True", "True"], "True"),
        (["True", "Unknown"], "Unknown"),
        (["Unknown", "False"], "False"),
        (["True", "False"], "False"),
    ],
)
def test_the_worst_schedule_counts(states: list[str], status: str) -> None:
    found = backup_ready(tuple(schedule(f"s{number}", one) for number, one in enumerate(states)), None)
    assert found is not None
    assert found.status == status
    if status != "True":
        assert found.message == f"s{states.index(status)}: it is so"
