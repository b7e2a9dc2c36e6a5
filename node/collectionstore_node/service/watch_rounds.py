"""`Round`: one step of many watches, in the thread of watches, over one state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from collectionstore_node.changes import Cursor, Event, Eyes, Recent, Tokens, commands, event
from collectionstore_node.changes.cursor import Step as Told
from collectionstore_node.changes.events import FAILED
from collectionstore_node.errors import InvalidRequest, ManyDeleted, NotNow
from collectionstore_node.statemachine.history import kept_after
from collectionstore_node.statemachine.images import whole_changes
from collectionstore_node.statemachine.view import View

RECENT_BYTES_MAX: Final = 4 << 20
"""Records of the last commands that are kept; what is decoded of them takes several times that."""
CATCH_UP_REVISIONS: Final = 4_096
CATCH_UP_BYTES: Final = 4 << 20
"""What a round reads for all watches together. If the state is further ahead, each reads the history for itself."""
ROUND_BYTES: Final = 1 << 20
"""A round ends with the watch that reaches so many bytes of events."""

__all__ = ["RECENT_BYTES_MAX", "Event", "Round", "Told"]


class Round:
    """Made in the event loop, run in the thread of watches."""

    __slots__ = ("_cursors", "_recent", "_revision", "_tokens", "_view", "gap")

    def __init__(
        self,
        view: View,
        revision: int,
        recent: Recent,
        tokens: Tokens,
        cursors: Sequence[tuple[Cursor, Eyes | None]],
    ) -> None:
        """`view` is a fixed state of at least `revision`; `recent` belongs to the thread.

        Each cursor comes with what its caller sees, by the rights in that state; None for everything.
        """
        self._view = view
        self._revision = revision
        self._recent = recent
        self._tokens = tokens
        self._cursors = cursors
        self.gap: ManyDeleted | None = None
        """Deleted keys that no scan could pass, to be reclaimed."""

    def run(self) -> list[Told | None]:
        """Take a step of one watch after the other; return what was found for the first ones, in their order.

        None is for a watch whose state cannot be read now.
        """
        found: list[Told | None] = []
        size = 0
        self._catch_up()
        for cursor, eyes in self._cursors:
            told = self._step(cursor, eyes)
            found.append(told)
            if told is not None:
                size += sum(len(one.text) for one in told.events)
            if size >= ROUND_BYTES:
                break
        return found

    def _step(self, cursor: Cursor, eyes: Eyes | None) -> Told | None:
        before = cursor.position
        try:
            return cursor.step(self._view, self._revision, self._recent, eyes)
        except NotNow as error:
            cursor.position = before
            if isinstance(error, ManyDeleted):
                self.gap = error
            if not cursor.beginning:
                return None
            # The view of the initial documents is lost, and with it what was told.
            code, detail = "unavailable", str(error)
        except InvalidRequest as error:
            code, detail = error.code, error.detail
        failed = event(FAILED, self._tokens.encode(before), code=code, detail=detail)
        return Told([failed], before, ended=True)

    def _catch_up(self) -> None:
        """Have `recent` end at the state, or as far as is read at a time."""
        recent, revision, view = self._recent, self._revision, self._view
        if recent.end >= revision:
            return
        try:
            if revision - recent.end > CATCH_UP_REVISIONS or kept_after(view) > recent.end:
                recent.clear(revision)
                return
            found, size, until = [], 0, revision
            for command in commands(whole_changes(view, recent.end, revision), self._tokens):
                found.append(command)
                size += command.size_bytes
                if size >= CATCH_UP_BYTES:
                    until = command.revision
                    break
        except NotNow:
            return  # each watch finds out for itself
        recent.add(found, until)
