"""Fault points: named places between two steps, at which a test lets this process die or stand still.

One is before and after every action (`reconcile.loop`), and between the steps of an action that has several. They do
nothing, and cost a comparison, unless COLLECTIONSTORE_FAULT_POINT names one (`settings`), or a test has armed them in
its process. As gofail in etcd.

The point `every` stands for all of them, each once: the process notes a point in a file BEFORE it dies there, and the
next process passes it. So one run of a procedure, with an operator that is always started again, passes all its points.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from collectionstore_operator.model.access.actions import AccessAction
from collectionstore_operator.model.actions import Action
from collectionstore_operator.model.backups.actions import BackupAction

Effect: TypeAlias = Literal["kill", "stop"]
"""SIGKILL, or SIGSTOP until SIGCONT: as a machine that dies, or one that is suspended past the end of the Lease."""

INNER: Final = (
    "AccessRound.observed",
    "AccessRound.published",
    "ApplyObject.adopted",
    "ApplyObject.cleaned",
    "BackupRound.observed",
    "BackupRound.published",
    "Bootstrap.recorded",
    "DeleteIdentity.keys-deleted",
    "DiscardVolumes.one",
    "DeleteReleased.policy-restored",
    "EnsureWorkload.recorded",
    "IssueCredential.issued",
    "RemoveFinalizer.revoked",
    "RetireVolume.claim-deleted",
    "RetireVolume.kept",
    "RetireVolume.stopped",
    "Round.observed",
    "Round.published",
    "SignRequest.approved",
)
"""Between the steps of one action, and of a round. ApplyObject stands for EnsureWorkload, too.

EnsureWorkload.recorded and RetireVolume.stopped are steps of local clusters only.
"""

POINTS: Final = tuple(
    sorted(
        (
            *INNER,
            *(
                f"{kind.__name__}.{edge}"
                for kind in (*get_args(Action), *get_args(BackupAction), *get_args(AccessAction))
                for edge in ("before", "after")
            ),
        )
    )
)

EVERY: Final = "every"
"""In place of a point: all of them, each once."""

_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

_reached: Callable[[str], None] | None = None


class Fault(NamedTuple):
    """What happens where; `point` may be EVERY."""

    point: str
    effect: Effect
    record: Path | None = None
    """The file of the points that had their effect, one a line; with EVERY."""


def parse(text: str, record: str = "") -> Fault:
    """Read `point:effect`, and the path of the record that `every` needs. Raises ValueError with what is allowed."""
    point, _, effect = text.partition(":")
    if point not in (*POINTS, EVERY):
        raise ValueError(f"there is no point {point!r}; allowed: {EVERY}, {', '.join(POINTS)}")
    if (point == EVERY) != bool(record):
        raise ValueError(f"a record of the points that were reached is needed with {EVERY}, and with nothing else")
    for allowed in get_args(Effect):
        if effect == allowed:
            return Fault(point, allowed, Path(record) if record else None)
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

    def reached(point: str) -> None:
        if not _noted(fault.record, point) if fault.record is not None else point == fault.point:
            _strike(fault.effect)

    return reached


def _strike(effect: Effect) -> None:
    os.kill(os.getpid(), _SIGNALS[effect])
    # The kernel shields the first process of a PID namespace, as of a container, from its own SIGKILL.
    if effect == "kill" and os.getpid() == 1:
        os._exit(128 + signal.SIGKILL)


def _noted(record: Path, point: str) -> bool:
    """Return whether a point is in the record already, and add it if not."""
    # Read each time: a test empties the file to begin another procedure while the process runs.
    with record.open("a+") as file:
        file.seek(0)
        if point in file.read().split():
            return True
        file.write(f"{point}\n")
        file.flush()
        # The effect may be the death of the machine's processes, and a point that is not noted would be met for ever.
        os.fsync(file.fileno())
    return False
