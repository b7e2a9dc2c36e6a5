"""`Imports`: many documents, in batches that are each one command, and so all or none of a batch.

A line that cannot be applied fails its batch; it is left out, and the rest is proposed again. With an idempotency key
each of these attempts has a key of its own, by the number of the batch's first line and of the attempt, so that a
repeated import meets the outcomes of the first one. What was left out the first time is not known then. So a repeated
attempt decides nothing: a failure is followed by the next attempt, and batches are cut at places that do not depend on
the state. What was applied is not applied again, and what was not is.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from time import perf_counter
from typing import Final, NamedTuple

import msgspec

from collectionstore_node.errors import NotNow, Overloaded
from collectionstore_node.service.door import Propose
from collectionstore_node.service.idempotency import derived_key
from collectionstore_node.service.operations import ANY, DocumentRef, Precondition, Put, Transaction
from collectionstore_node.service.queries import Queries
from collectionstore_node.service.results import Code, Outcome

IMPORTS_MAX: Final = 8
"""Imports of a member at a time."""
BATCH_LINES: Final = 100
BATCH_BYTES: Final = 1 << 20
"""A batch ends with the line that reaches one of these."""
RACES_MAX: Final = 8
"""How often a batch is looked at again because others wrote its documents meanwhile."""


class Mode(enum.Enum):
    """What becomes of a document that exists."""

    INSERT = "insert"
    """Its line fails."""
    SKIP = "skip"
    """It stays as it is."""
    UPSERT = "upsert"
    """It is replaced."""
    REPLACE = "replace"
    """It is replaced, and the line of one that does not exist fails."""


_PRECONDITIONS: Final = {
    Mode.INSERT: Precondition(exists=False),
    Mode.SKIP: Precondition(exists=False),
    Mode.UPSERT: ANY,
    Mode.REPLACE: Precondition(exists=True),
}
_FATAL: Final = frozenset(
    (
        Code.COLLECTION_NOT_FOUND,
        Code.IDEMPOTENCY_KEY_REUSED,
        Code.INVALID_TRANSACTION,
        Code.LEVEL_TOO_LOW,
    )
)
"""What is wrong with all lines alike."""


class Line(NamedTuple):
    """A line that is to be applied."""

    number: int
    id: str
    document: bytes
    """Compact JSON."""


class Refused(NamedTuple):
    """A line that was not applied, and the outcome that says why."""

    line: Line
    outcome: Outcome


class Applied(msgspec.Struct):
    """What became of a batch."""

    inserted: int = 0
    replaced: int = 0
    skipped: int = 0
    revision: int = 0
    """Of its last command."""
    refused: list[Refused] = msgspec.field(default_factory=list)
    refused_before: int = 0
    """Lines that were refused when the batch was sent first; which they are is not known any more."""
    failed: Outcome | None = None
    """What is wrong with all of them: the rest was not applied."""


class _Batch(NamedTuple):
    """A batch without an ID twice."""

    collection: str
    lines: Sequence[Line]
    mode: Mode
    key: str | None
    identity: bytes
    """What identifies it, for its idempotency keys."""
    errors_max: int
    deadline: float


class Imports:
    """Imports of documents: part of `Store`, whose errors they raise."""

    __slots__ = ("_propose", "_queries", "_running")

    def __init__(self, queries: Queries, propose: Propose) -> None:
        self._queries = queries
        self._propose = propose
        self._running = 0

    def enter(self) -> None:
        """Count an import; call `leave` when it ends. Raises `Overloaded` while there are IMPORTS_MAX."""
        if self._running >= IMPORTS_MAX:
            raise Overloaded(f"{IMPORTS_MAX} imports are sent to this member already", retry_after_s=10.0)
        self._running += 1

    def leave(self) -> None:
        """Count its end."""
        self._running -= 1

    async def batch(
        self,
        collection: str,
        lines: Sequence[Line],
        mode: Mode,
        *,
        key: str | None,
        identity: bytes,
        errors_max: int,
        timeout_s: float,
    ) -> Applied:
        """Apply lines, up to BATCH_LINES, in their order; those with the same ID in commands of their own.

        `identity` stands for the batch in the fingerprints of its commands. Ends early with more than `errors_max`
        refused lines. Raises `NotNow` and `OutcomeUnknown`: the batch may be applied in part, or not at all.
        """
        applied = Applied()
        deadline = perf_counter() + timeout_s
        for part in _apart(lines):
            if applied.failed is not None or len(applied.refused) > errors_max:
                break
            await self._apply(_Batch(collection, part, mode, key, identity, errors_max, deadline), applied)
        return applied

    async def _apply(self, batch: _Batch, applied: Applied) -> None:
        todo = [(0, len(batch.lines))]
        refused: set[int] = set()
        attempt = races = 0
        while todo and len(applied.refused) <= batch.errors_max:
            low, high = todo.pop()
            left = [line for line in batch.lines[low:high] if line.number not in refused]
            wanted = left
            if batch.mode is Mode.SKIP and left:
                there = await self._existing(batch, left)
                wanted = [line for line in left if line.id not in there]
            if not wanted and batch.key is None:
                applied.skipped += len(left)
                continue
            # With a key also nothing is proposed, so that a repeated import finds that there was nothing.
            outcome = await self._attempt(batch, wanted, attempt)
            attempt += 1
            applied.revision = max(applied.revision, outcome.revision)
            if outcome.code is Code.OK:
                _count(applied, batch.mode, outcome, len(left))
            elif outcome.code in _FATAL:
                applied.failed = outcome
                return
            elif outcome.code is Code.TRANSACTION_TOO_LARGE and high - low > 1:
                middle = (low + high) // 2
                todo += ((middle, high), (low, middle))
            elif outcome.replayed:
                todo.append((low, high))
            elif batch.mode is Mode.SKIP and outcome.code is Code.PRECONDITION_FAILED:
                races += 1
                if races == RACES_MAX:
                    raise NotNow("others wrote the documents of the batch each time; send it again")
                todo.append((low, high))
            else:
                for line in await self._at_fault(batch, wanted, outcome):
                    refused.add(line.number)
                    applied.refused.append(Refused(line, outcome))
                todo.append((low, high))

    async def _attempt(self, batch: _Batch, lines: Sequence[Line], attempt: int) -> Outcome:
        precondition = _PRECONDITIONS[batch.mode]
        puts = tuple(Put(DocumentRef(batch.collection, line.id), line.document, precondition) for line in lines)
        key = None if batch.key is None else derived_key(batch.key, f"{batch.lines[0].number}:{attempt}")
        while True:
            try:
                return await self._propose(Transaction(then=puts), key, _left(batch.deadline), request=batch.identity)
            except Overloaded as error:
                # An import yields to other writes: this one was not applied, and there is time.
                if _left(batch.deadline) <= error.retry_after_s:
                    raise
                await asyncio.sleep(error.retry_after_s)

    async def _at_fault(self, batch: _Batch, lines: Sequence[Line], outcome: Outcome) -> list[Line]:
        """Return the lines that an outcome refuses: one, and all others for which the state says the same."""
        one = lines[outcome.failed_operation or 0]
        if outcome.code is not Code.PRECONDITION_FAILED:
            return [one]
        there = await self._existing(batch, lines)
        return [line for line in lines if line is one or (line.id in there) is (batch.mode is Mode.INSERT)]

    async def _existing(self, batch: _Batch, lines: Sequence[Line]) -> frozenset[str]:
        ids = [line.id for line in lines]
        return await self._queries.existing(batch.collection, ids, timeout_s=_left(batch.deadline))


def _count(applied: Applied, mode: Mode, outcome: Outcome, lines: int) -> None:
    created = sum(item.created for item in outcome.items)
    applied.inserted += created
    applied.replaced += len(outcome.items) - created
    rest = max(0, lines - len(outcome.items))
    if mode is Mode.SKIP:
        applied.skipped += rest
    else:
        applied.refused_before += rest


def _apart(lines: Sequence[Line]) -> list[list[Line]]:
    """Return the lines in parts without an ID twice: a command writes a document once."""
    parts: list[list[Line]] = []
    ids: set[str] = set()
    for line in lines:
        if not parts or line.id in ids:
            parts.append([])
            ids = set()
        parts[-1].append(line)
        ids.add(line.id)
    return parts


def _left(deadline: float) -> float:
    return max(0.001, deadline - perf_counter())
