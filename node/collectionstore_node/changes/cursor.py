"""`Cursor`: where one watch is, and its way through the history in steps of a bounded size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from collectionstore_node.changes.events import GONE, INVALIDATE, READY, Event, event
from collectionstore_node.changes.eyes import Eyes
from collectionstore_node.changes.recent import Recent
from collectionstore_node.changes.selection import Selection
from collectionstore_node.changes.shown import Command, commands
from collectionstore_node.changes.tokens import ALL, Position, Tokens
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.statemachine.history import ChangeKind, kept_after
from collectionstore_node.statemachine.images import whole_changes
from collectionstore_node.statemachine.reads import Listed
from collectionstore_node.statemachine.view import View

STEP_EVENT_BYTES: Final = 64 << 10
"""A step ends with the command that reaches so many bytes of events."""
STEP_COMMANDS: Final = 1_024
"""Commands that a step looks at, at most."""
STEP_REVISIONS: Final = 4_096
"""And how far it goes, whatever it meets on the way."""
STEP_READ_BYTES: Final = 4 << 20
"""What a step reads of the history: it ends with the command that reaches it."""
STEP_DOCUMENTS: Final = 1_024
"""Initial documents that a step looks at, at most."""

Initial = Iterator[tuple[int, Listed]]
"""The documents at the beginning of a watch, each with its stored size."""


class Step(NamedTuple):
    """What a step has come to."""

    events: list[Event]
    position: Position
    """The place behind them."""
    ended: bool = False
    """Whether the last event is the last of the watch."""


class Cursor:
    """The place of one watch. Not for two threads at once."""

    __slots__ = ("_initial", "_tokens", "position", "selection")

    def __init__(
        self, selection: Selection, position: Position, tokens: Tokens, initial: Initial | None = None
    ) -> None:
        """`initial` are documents of the state at `position`, which come before all changes."""
        self.selection = selection
        self.position = position
        self._tokens = tokens
        self._initial = initial

    @property
    def beginning(self) -> bool:
        """Whether initial documents are still to be told."""
        return self._initial is not None

    def due(self, revision: int) -> bool:
        """Whether there may be something to tell of the state at a revision."""
        return self._initial is not None or self.position < Position(revision)

    def step(self, view: View, revision: int, recent: Recent, eyes: Eyes | None = None) -> Step:
        """Go on, in the state of `view`, which has at least `revision`, and tell what `eyes` see; None for everything.

        What `recent` has is not read again. Raises `InvalidRequest`, and what reading the view does.
        """
        if self._initial is not None:
            return self._begin(view, self._initial, eyes)
        if recent.covers(self.position):
            found: Iterable[Command] = recent.behind(self.selection.scope, self.position)
            return self._advance(found, recent.end, eyes)
        gone = self._gone(view)
        if gone is not None:
            return gone
        # From the command before on if a part of it is still to be told.
        after = self.position.revision if self.position.passed == ALL else self.position.revision - 1
        # Many records may have no changes at all.
        until = min(revision, after + STEP_REVISIONS)
        return self._advance(commands(whole_changes(view, after, until), self._tokens), until, eyes)

    def _gone(self, view: View) -> Step | None:
        kept = kept_after(view)
        if self.position >= Position(kept):
            return None
        # Without a token: a client that goes on from the last token that it has seen must not pass the gap unseen.
        restart = self._tokens.encode(Position(kept))
        told = event(GONE, "", kept_after=kept, restart=restart, revision=self.position.revision)
        return Step([told], self.position, ended=True)

    def _begin(self, view: View, initial: Initial, eyes: Eyes | None) -> Step:
        gone = self._gone(view)
        if gone is not None:
            # The changes behind these documents are not kept any more: what is told of them is worth nothing.
            return gone
        events: list[Event] = []
        size = read = 0
        for looked, (stored_bytes, (name, stored)) in enumerate(initial, 1):
            told = self.selection.document(name, stored, eyes)
            read += stored_bytes
            if told is not None:
                events.append(told)
                size += len(told.text)
            if size >= STEP_EVENT_BYTES or read >= STEP_READ_BYTES or looked >= STEP_DOCUMENTS:
                return Step(events, self.position)
        self._initial = None
        events.append(event(READY, self._tokens.encode(self.position), revision=self.position.revision))
        return Step(events, self.position)

    def _advance(self, found: Iterable[Command], until: int, eyes: Eyes | None) -> Step:
        events: list[Event] = []
        size = read = 0
        for looked, command in enumerate(found, 1):
            passed = self.position.passed if command.revision == self.position.revision else 0
            try:
                told = self.selection.events(command, passed, eyes)
            except InvalidRequest:
                if not events:
                    raise
                # First what came before it: the next step begins at this command.
                return Step(events, self.position)
            events += told
            size += sum(len(one.text) for one in told)
            read += command.size_bytes
            self.position = Position(command.revision)
            if self._dropped(command, passed):
                token = self._tokens.encode(self.position)
                events.append(event(INVALIDATE, token, reason="the collection was dropped"))
                return Step(events, self.position, ended=True)
            if size >= STEP_EVENT_BYTES or read >= STEP_READ_BYTES or looked >= STEP_COMMANDS:
                return Step(events, self.position)
        self.position = max(self.position, Position(until))
        return Step(events, self.position)

    def _dropped(self, command: Command, passed: int) -> bool:
        """Whether the collection of the watch was dropped: a command that drops one does nothing else."""
        scope = self.selection.scope
        return scope.kind == "collection" and any(
            shown.change.kind is ChangeKind.DROP_COLLECTION and shown.scope == scope and shown.passed > passed
            for shown in command.changes
        )
