"""Committed entries become state: one batch of writes, stored together with how far they are applied."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from collectionstore_node.raft.messages import Configuration, Entry, EntryKind, decode_change
from collectionstore_node.replica.ports import State
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import Outcome
from collectionstore_node.statemachine.members import MembershipRecord, apply_membership, read_membership
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.storage import Applied


class Result(NamedTuple):
    """What came of one entry; `outcomes` is empty unless it held commands."""

    entry: Entry
    outcomes: list[Outcome]


class Applier:
    """Applies entries to the state, in their order. Belongs to the event loop."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.reload()

    def reload(self) -> None:
        """Read anew what is kept in memory: the state was replaced by a snapshot."""
        self.record: MembershipRecord = read_membership(self._state)
        self.revision: int = read_revision(self._state)

    def apply(self, committed: tuple[Entry, ...], activate: Callable[[Entry], Configuration]) -> list[Result]:
        """Apply and store `committed`, not empty, and return what came of each, in order.

        `activate` makes a membership change effective and returns the configuration. Raises `InvariantViolated` and
        `StorageFailed`; nothing was stored then.
        """
        overlay = Overlay(self._state)
        configuration, record = self._state.applied.configuration, self.record
        results = []
        for entry in committed:
            outcomes: list[Outcome] = []
            if entry.kind is EntryKind.COMMANDS:
                outcomes = apply_batch(overlay, entry.data)
            elif entry.kind is EntryKind.CHANGE:
                configuration = activate(entry)
                record = apply_membership(overlay, entry.index, decode_change(entry.data).context, configuration)
            results.append(Result(entry, outcomes))
        last = committed[-1]
        applied = Applied(index=last.index, term=last.term, chain=last.chain, configuration=configuration)
        self._state.commit(overlay.writes, applied)
        self.record = record
        for result in reversed(results):
            if result.outcomes:
                self.revision = result.outcomes[-1].revision
                break
        return results
