"""Applies committed entries to the state: one batch of writes, stored together with the applied index.

The log was verified when it was received and when it was read from disk. It is verified once more here, where it takes
effect: an entry whose chain does not continue the chain of the state is not applied.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import structlog

from collectionstore_node.errors import InvariantViolated, NodeError, OutOfMemory, StorageFailed
from collectionstore_node.metrics import DiskSeries
from collectionstore_node.raft.messages import (
    Configuration,
    Entry,
    EntryKind,
    SnapshotMetadata,
    chain_hash,
    decode_change,
)
from collectionstore_node.replica.persistence.checkpoints import CHECKPOINT_ENTRIES, Checkpoint, Checkpoints
from collectionstore_node.replica.storage_port import State
from collectionstore_node.statemachine.apply import CommandFailed, apply_batch
from collectionstore_node.statemachine.commands import Outcome
from collectionstore_node.statemachine.costs import ENTRY_COST_MAX
from collectionstore_node.statemachine.digest import read_digest, update_digest
from collectionstore_node.statemachine.header import History, read_header
from collectionstore_node.statemachine.members import MembershipRecord, apply_membership, read_membership
from collectionstore_node.statemachine.view import Overlay, Writes

log = structlog.get_logger()


class Result(NamedTuple):
    """The outcomes of one entry; empty unless it held commands."""

    entry: Entry
    outcomes: list[Outcome]
    answers: dict[int, Outcome]
    """Outcomes with the values that transactions read, by position: only where a client waits for them here."""


def _nobody_waits(_entry: Entry) -> bool:
    return False


class Applier:
    """Applies entries to the state, in their order. Belongs to the event loop."""

    def __init__(
        self, state: State, series: DiskSeries, raise_level: Callable[[int], None] = lambda _level: None
    ) -> None:
        """`raise_level` makes programs that do not support a feature level refuse the data, durably."""
        self._state = state
        self._series = series
        self._raise_level = raise_level
        self.reload()

    @property
    def suspended(self) -> bool:
        """Whether the state is being replaced by a snapshot: it must not be read until `reload`."""
        return self._suspended

    def suspend(self) -> None:
        """A snapshot begins to replace the state, in a thread."""
        self._suspended = True

    def reload(self) -> None:
        """Read what is kept in memory from the state, at the start and after a snapshot has replaced it."""
        self._suspended = False
        self.record: MembershipRecord = read_membership(self._state)
        header = read_header(self._state)
        self.revision: int = header.revision
        self.level: int = header.level
        """Feature level of the applied state."""
        self.time_ms: int = header.time_ms
        """Replicated time of the applied state."""
        self.history: History | None = header.history
        """How far the history of the applied state goes back; None before there is one."""
        self._checkpoints = Checkpoints()

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the digests of the state that are known, with the current one; none while a snapshot replaces it."""
        if self._suspended:
            return ()
        return self._checkpoints.with_head(self._state.applied.index, read_digest(self._state))

    def apply(
        self,
        committed: tuple[Entry, ...],
        activate: Callable[[Entry], Configuration],
        waits: Callable[[Entry], bool] = _nobody_waits,
    ) -> list[Result]:
        """Apply and store entries from the front of `committed`, not empty, and return their outcomes, in order.

        As many entries as cost little together, and at least one; call it again with the rest. `activate` makes a
        membership change effective and returns the configuration; `waits` says whether an entry's commands are
        answered here. Raises `InvariantViolated`, `StorageFailed` and `OutOfMemory`, which say at which entry; nothing
        was stored then.
        """
        # BEFORE the first write: a damaged entry must stop this member, not change its state.
        _check_history(self._state.applied, committed)
        overlay = Overlay(self._state)
        configuration, record = self._state.applied.configuration, self.record
        results: list[Result] = []
        passed, cost = [], 0
        for entry in committed:
            outcomes: list[Outcome] = []
            answers: dict[int, Outcome] = {}
            try:
                if entry.kind is EntryKind.COMMANDS:
                    outcomes = apply_batch(overlay, entry.data, entry.chain, answers if waits(entry) else None)
                    cost += overlay.cost
                elif entry.kind is EntryKind.CHANGE:
                    configuration = activate(entry)
                    record = apply_membership(overlay, entry.index, decode_change(entry.data).context, configuration)
                    update_digest(overlay, read_header(overlay), entry.chain, configuration)
            except Exception as error:
                raise _not_applied(entry, error) from error
            results.append(Result(entry, outcomes, answers))
            if entry.index % CHECKPOINT_ENTRIES == 0:
                passed.append(Checkpoint(entry.index, read_digest(overlay)))
            # Values that were read are held until they are answered: those of a few entries, not of a whole log.
            if cost > ENTRY_COST_MAX:
                break
        last, header = results[-1].entry, read_header(overlay)
        applied = SnapshotMetadata(index=last.index, term=last.term, chain=last.chain, configuration=configuration)
        if header.level > self.level:
            # BEFORE the state of the new level is stored: an older program must find the mark, or it would misread it.
            self._raise_level(header.level)
            log.info("level.raised", feature_level=header.level, was=self.level, index=last.index)
        # Stored BEFORE anything in memory changes: readers of record and revision must find the state that has them.
        try:
            self._commit(overlay.writes, applied)
        except MemoryError as error:
            raise OutOfMemory(f"storing the effects of entries {committed[0].index} to {last.index}") from error
        self.record = record
        for one in passed:
            self._checkpoints.passed(one.index, one.digest)
        # Not the last outcome's: a retried request is answered with the revision of its first attempt.
        self.revision, self.level, self.time_ms = header.revision, header.level, header.time_ms
        self.history = header.history
        return results

    def _commit(self, writes: Writes, applied: SnapshotMetadata) -> None:
        started = time.perf_counter()
        self._state.commit(writes, applied)
        self._series.state_seconds.observe(time.perf_counter() - started)
        values = writes.values
        self._series.state_bytes.observe(sum(map(len, values)) + sum(map(len, filter(None, values.values()))))


def _not_applied(entry: Entry, error: Exception) -> NodeError:
    """Log at which entry and command applying failed, and return the exception that ends the node."""
    # The first cause: it decides how the process ends. Kinds and sizes say where to look, and quote no document.
    command = error if isinstance(error, CommandFailed) else None
    cause = error.__cause__ if command is not None and error.__cause__ is not None else error
    log.error(
        "entry.not_applied",
        index=entry.index,
        term=entry.term,
        kind=entry.kind.name,
        bytes=len(entry.data),
        command=None if command is None else command.position,
        action=None if command is None else command.action,
        reason=type(cause).__name__,
    )
    reason = str(error) if isinstance(error, NodeError) else type(error).__name__
    text = f"entry {entry.index} of term {entry.term} ({entry.kind.name}, {len(entry.data)} bytes): {reason}"
    if isinstance(cause, MemoryError | OutOfMemory):
        return OutOfMemory(text)
    return StorageFailed(text) if isinstance(cause, StorageFailed) else InvariantViolated(text)


def _check_history(applied: SnapshotMetadata, entries: tuple[Entry, ...]) -> None:
    """Raise `InvariantViolated` unless `entries` continue what was applied. Costs one hash of their data."""
    index, chain = applied.index, applied.chain
    for entry in entries:
        chain = chain_hash(chain, entry.index, entry.term, entry.kind, entry.data)
        if entry.index != index + 1 or chain != entry.chain:
            raise InvariantViolated(
                f"entry {entry.index} does not continue the history of the state, which ends at {index}: "
                "it was damaged in memory, or belongs to another log"
            )
        index = entry.index
