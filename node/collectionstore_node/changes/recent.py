"""`Recent`: the last commands, decoded once for all watches that are as far as the state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from collectionstore_node.changes.selection import concerned
from collectionstore_node.changes.shown import STORE, Command, Scope
from collectionstore_node.changes.tokens import Position


class Recent:
    """All commands with changes whose revisions are above `begin` and at most `end`, up to a size.

    A watch within that range needs no history. Not for two threads at once.
    """

    __slots__ = ("_bytes", "_bytes_max", "_commands", "_concerning", "begin", "end")

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.clear(0)

    @property
    def size_bytes(self) -> int:
        """About what its commands take in memory."""
        return self._bytes

    def clear(self, revision: int) -> None:
        """Begin again behind `revision`, with nothing."""
        self._bytes = 0
        self._commands: deque[Command] = deque()
        self._concerning: dict[Scope, deque[Command]] = {}
        self.begin = self.end = revision

    def add(self, found: Iterable[Command], until: int) -> None:
        """Add all commands behind `end`, up to the revision `until`; the oldest make room."""
        for command in found:
            self._commands.append(command)
            self._bytes += command.size_bytes
            for scope in concerned(command):
                self._concerning.setdefault(scope, deque()).append(command)
            while self._bytes > self._bytes_max and self._commands:
                self._drop_oldest()
        self.end = until

    def covers(self, position: Position) -> bool:
        """Whether everything behind a position, up to `end`, is here, and that is more than nothing."""
        # A command of which only a part was passed has to be here itself.
        return Position(self.begin) <= position < Position(self.end)

    def behind(self, scope: Scope, position: Position) -> list[Command]:
        """Return the commands behind a position that concern a scope, in order."""
        found: list[Command] = []
        for command in reversed(self._commands if scope == STORE else self._concerning.get(scope, ())):
            if Position(command.revision) <= position:
                break
            found.append(command)
        found.reverse()
        return found

    def _drop_oldest(self) -> None:
        oldest = self._commands.popleft()
        self._bytes -= oldest.size_bytes
        self.begin = oldest.revision
        for scope in concerned(oldest):
            line = self._concerning[scope]
            # The oldest of all is the oldest of each scope that it concerns.
            line.popleft()
            if not line:
                del self._concerning[scope]
