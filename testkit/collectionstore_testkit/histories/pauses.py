"""How long no write was acknowledged, from a history."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from collectionstore_testkit.histories.operations import Operation


def write_pauses(history: Sequence[Operation], since: float, until: float | None = None) -> list[float]:
    """Return the times, in seconds, between acknowledged writes in [since, until)."""
    times = sorted(
        one.returned
        for one in history
        if one.outcome == "ok"
        and one.writes
        and one.returned is not None
        and since <= one.returned
        and (until is None or one.returned < until)
    )
    return [after - before for before, after in pairwise([since, *times, *([] if until is None else [until])])]
