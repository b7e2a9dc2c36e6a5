"""Fault points: named places between two steps, at which a test lets this process die or stand still.

One is between any two actions, and between the steps of an action that has several. They do nothing, and cost a
comparison, unless COLLECTIONSTORE_FAULT_POINT names one (`settings`), or a test has armed them in its process.
As gofail in etcd.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from collectionstore_operator.model.actions import Action
from collectionstore_operator.model.backups.actions import BackupAction

Effect: TypeAlias = Literal["kill", "stop"]
"""SIGKILL, or SIGSTOP until SIGCONT: as a machine that dies, or one that is suspended past the end of the Lease."""

INNER: Final = (
    "ApplyObject.adopted",
    "ApplyObject.cleaned",
    "BackupRound.observed",
    "BackupRound.published",
    "Bootstrap.recorded",
    "DeleteIdentity.keys-deleted",
    "RemoveFinalizer.revoked",
    "RetireVolume.claim-deleted",
    "RetireVolume.kept",
    "Round.observed",
    "Round.published",
    "SignRequest.approved",
)
"""Between the steps of one action, and of a round. ApplyObject stands for EnsureWorkload, too."""

POINTS: Final = tuple(
    sorted(
        (
            *INNER,
            *(
                f"{kind.__name__}.{edge}"
                for kind in (*get_args(Action), *get_args(BackupAction))
                for edge in ("before", "after")
            ),
        )
    )
)

_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

_reached: Callable[[str], None] | None = None


class Fault(NamedTuple):
    """What happens where."""

    point: str
    effect: Effect


def parse(text: str) -> Fault:
    """Read `point:effect`. Raises ValueError with what is allowed."""
    point, _, effect = text.partition(":")
    if point not in POINTS:
        raise ValueError(f"there is no point {point!r}; allowed: {', '.join(POINTS)}")
    for allowed in get_args(Effect):
        if effect == allowed:
            return Fault(point, allowed)
    raise ValueError(f"the effect is {effect!r}; allowed: {', '.join(get_args(Effect))}")


def reach(point: str) -> None:
    """Mark a point in the code."""
    if _reached is not None:
        _reached(point)


@contextmanager
def armed(reached: Callable[[str], None] | None) -> Iterator[None]:
    """Call `reached` with the name of every point that is reached; None for nothing."""
    # Global, or every layer down to the adapters would pass it on for tests alone.
    global _reached
    before, _reached = _reached, reached
    try:
        yield
    finally:
        _reached = before


def signalling(fault: Fault | None) -> Callable[[str], None] | None:
    """Return what lets this process die or stop at a point; None without a fault."""
    if fault is None:
        return None
    number = _SIGNALS[fault.effect]

    def reached(point: str) -> None:
        if point == fault.point:
            os.kill(os.getpid(), number)

    return reached
