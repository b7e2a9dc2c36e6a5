"""Applies committed entries to the state: one batch of writes, stored together with the applied index.

The log was verified when it was received and when it was read from disk. It is verified once more here, where it takes
effect: an entry whose chain does not continue the chain of the state is not applied.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from collectionstore_node.errors import InvariantViolated
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
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Outcome
from collectionstore_node.statemachine.digest import read_digest, update_digest
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.members import MembershipRecord, apply_membership, read_membership
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.view import Overlay, Writes


class Result(NamedTuple):
    """The outcomes of one entry; empty unless it held commands."""

    entry: Entry
    outcomes: list[Outcome]


class Applier:
    """Applies entries to the state, in their order. Belongs to the event loop."""

    def __init__(self, state: State, series: DiskSeries) -> None:
        self._state = state
        self._series = series
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
        self.revision: int = read_revision(self._state)
        self._checkpoints = Checkpoints()

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Return the digests of the state that are known, with the current one; none while a snapshot replaces it."""
        if self._suspended:
            return ()
        return self._checkpoints.with_head(self._state.applied.index, read_digest(self._state))

    def apply(self, committed: tuple[Entry, ...], activate: Callable[[Entry], Configuration]) -> list[Result]:
        """Apply and store `committed`, not empty, and return the outcomes of each entry, in order.

        `activate` makes a membership change effective and returns the configuration. Raises `InvariantViolated` and
        `StorageFailed`; nothing was stored then.
        """
        # BEFORE the first write: a damaged entry must stop this member, not change its state.
        _check_history(self._state.applied, committed)
        overlay = Overlay(self._state)
        configuration, record = self._state.applied.configuration, self.record
        results, passed = [], []
        for entry in committed:
            outcomes: list[Outcome] = []
            if entry.kind is EntryKind.COMMANDS:
                outcomes = apply_batch(overlay, entry.data, entry.chain)
            elif entry.kind is EntryKind.CHANGE:
                configuration = activate(entry)
                record = apply_membership(overlay, entry.index, decode_change(entry.data).context, configuration)
                update_digest(overlay, read_header(overlay), entry.chain, configuration)
            results.append(Result(entry, outcomes))
            if entry.index % CHECKPOINT_ENTRIES == 0:
                passed.append(Checkpoint(entry.index, read_digest(overlay)))
        last = committed[-1]
        applied = SnapshotMetadata(index=last.index, term=last.term, chain=last.chain, configuration=configuration)
        # Stored BEFORE anything in memory changes: readers of record and revision must find the state that has them.
        self._commit(overlay.writes, applied)
        self.record = record
        for one in passed:
            self._checkpoints.passed(one.index, one.digest)
        # Not the last outcome's: a retried request is answered with the revision of its first attempt.
        self.revision = read_revision(overlay)
        return results

    def _commit(self, writes: Writes, applied: SnapshotMetadata) -> None:
        started = time.perf_counter()
        self._state.commit(writes, applied)
        self._series.state_seconds.observe(time.perf_counter() - started)
        self._series.state_bytes.observe(sum(len(key) + len(value or b"") for key, value in writes.values.items()))


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
