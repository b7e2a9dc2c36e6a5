"""Which conditions changed between two statuses, and what is worth an Event. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_operator.status.conditions import GOOD_WHEN_FALSE
from collectionstore_operator.status.published import Status

_NOT_RECORDED: Final = frozenset({"Progressing", "Ready"})
"""Each action is an Event already, and Ready only sums up the other conditions."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A condition whose status changed."""

    type: str
    status: str
    reason: str
    message: str
    good: bool
    """The new status is the one that a healthy cluster has."""
    recorded: bool
    """It is worth an Event, not only a log line."""


def changed_conditions(previous: Status | None, status: Status) -> Iterator[Change]:
    """Yield the conditions whose status differs; none for the first status: a new cluster changes nothing."""
    if previous is None or not previous.conditions:
        return
    for one in status.conditions:
        old = previous.condition(one.type)
        if old is None or old.status == one.status:
            continue
        healthy = "False" if one.type in GOOD_WHEN_FALSE else "True"
        yield Change(
            type=one.type,
            status=one.status,
            reason=one.reason,
            message=one.message,
            good=one.status == healthy or one.type == "Progressing",
            recorded=one.type not in _NOT_RECORDED,
        )
