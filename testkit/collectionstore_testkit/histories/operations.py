"""What clients did and saw: the vocabulary of histories, and their form on disk.

Every operation is a small transaction: guards, what to do when all hold, what to do otherwise. A read is one `get`, a
write one `put`, a compare-and-set a `put` behind a guard. Values are unique in a history, so that a read names the
write it saw.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec


class Guard(msgspec.Struct, frozen=True):
    """A condition on a key as it is before the operation; `operand` is what the field must equal."""

    key: str
    field: Literal["revision", "exists", "value"]
    operand: int | bool | str
    """A revision (0: absent), whether the key exists, or a value."""


class Step(msgspec.Struct, frozen=True):
    """One thing to do with one key."""

    action: Literal["get", "put", "delete"]
    key: str
    value: str | None = None
    """What a put stores."""


class Seen(msgspec.Struct, frozen=True):
    """What the answer said of one step; None for what it did not say."""

    existed: bool | None = None
    """Whether the key existed before the step."""
    value: str | None = None
    """What a get found."""
    revision: int | None = None
    """Revision of what a get found."""


class Answer(msgspec.Struct, frozen=True):
    """The response."""

    succeeded: bool
    """Whether all guards held."""
    revision: int | None
    """Of the write; of a read, the newest revision that it reflects. None when the answer did not tell."""
    seen: tuple[Seen, ...] = ()
    """One for each step of the list that ran."""
    current: int | None = None
    """After a failed guard: the revision of the first guard's key, 0 when absent."""


class Operation(msgspec.Struct, frozen=True):
    """One operation of one client. Times are seconds of one clock."""

    id: int
    process: str
    then: tuple[Step, ...]
    invoked: float
    returned: float | None
    """None while the outcome is unknown."""
    outcome: Literal["ok", "failed", "unknown"]
    """`failed` is the store's promise that nothing was applied; `unknown` may take effect at any time, or never."""
    guards: tuple[Guard, ...] = ()
    otherwise: tuple[Step, ...] = ()
    answer: Answer | None = None

    @property
    def keys(self) -> frozenset[str]:
        """Every key that it reads or writes."""
        return frozenset([one.key for one in self.guards] + [one.key for one in (*self.then, *self.otherwise)])

    @property
    def writes(self) -> bool:
        """Whether it may change the state."""
        return any(step.action != "get" for step in (*self.then, *self.otherwise))

    def ran(self) -> tuple[Step, ...]:
        """Return the list that ran, by its answer; `then` when there is none."""
        return self.otherwise if self.answer is not None and not self.answer.succeeded else self.then


def describe(operation: Operation) -> str:
    """Return the operation as one line of text."""
    end = f"{operation.returned:.4f}" if operation.returned is not None else "?"
    parts = [f"{operation.process:<8} {operation.invoked:.4f}-{end}"]
    if operation.guards:
        parts.append("if " + " and ".join(f"{one.key}.{one.field} = {one.operand!r}" for one in operation.guards))
    steps = operation.then if operation.answer is None else operation.ran()
    seen = operation.answer.seen if operation.answer is not None else ()
    for position, step in enumerate(steps):
        parts.append(_described_step(step, seen[position] if position < len(seen) else None))
    answer = operation.answer
    if answer is None:
        parts.append(f"-> {operation.outcome}")
    elif not answer.succeeded:
        parts.append("-> the guard failed" + ("" if answer.current is None else f", revision is {answer.current}"))
    else:
        parts.append(f"-> ok at revision {answer.revision}")
    return " ".join(parts)


def _described_step(step: Step, seen: Seen | None) -> str:
    if step.action == "put":
        return f"put {step.key} = {step.value}"
    if step.action == "delete" or seen is None:
        return f"{step.action} {step.key}"
    return f"get {step.key}: {seen.value if seen.existed else 'absent'}" + (
        f" (revision {seen.revision})" if seen.existed and seen.revision is not None else ""
    )


def save(path: Path, history: Iterable[Operation]) -> None:
    """Write one JSON object per line."""
    path.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in history))


def load(path: Path) -> list[Operation]:
    """Read what `save` wrote. Raises `OSError` or `msgspec.DecodeError`."""
    decoder = msgspec.json.Decoder(Operation)
    return decoder.decode_lines(path.read_bytes())
