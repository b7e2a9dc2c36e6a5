"""Which resources of backups a schedule keeps; the data are pruned in the repository by the same numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collectionstore_operator.model.backups.observed import BackupSummary
from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.resource.backups.specs import Retention

KEPT_MAX: Final = 100
"""Resources of complete backups; a repository may keep more."""
FAILED_KEPT: Final = 3
_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def duration_s(text: str) -> int:
    """Return a duration such as 30d in seconds."""
    return int(text[:-1]) * _UNITS[text[-1]]


def forgotten(backups: Sequence[BackupSummary], retention: Retention | None, now: float) -> tuple[BackupSummary, ...]:
    """Return the backups, oldest first, whose resources go. The newest complete one and what runs never do."""
    complete = [one for one in backups if one.state == "Complete"]
    failed = [one for one in backups if one.state == "Failed"]
    last = KEPT_MAX if retention is None else min(retention.keep_last, KEPT_MAX)
    within_s = 0 if retention is None else duration_s(retention.keep_within)
    young = {one.backup.name for one in complete[-KEPT_MAX:] if one.ended and now - seconds(one.ended) < within_s}
    going = [one for one in complete[:-last] if one.backup.name not in young] + failed[:-FAILED_KEPT]
    return tuple(sorted((one for one in going if not one.backup.deleting), key=lambda one: one.due))
