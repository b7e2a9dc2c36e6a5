"""Sessions: the highest revision that was seen, so that stale reads see at least that. Bound to the context."""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Self


class Session:
    """Reads of this session see its own writes, and never an older state than one that it has seen.

    Linearizable reads do so anyway; it is for `consistency="stale"`, on any member and on read replicas. As a context
    manager it holds for all calls in its block, of the same task or thread and those that it starts.
    """

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision
        """The highest revision that was written or read. May be handed on to another program."""
        self._bound: list[Token[Session | None]] = []

    def saw(self, revision: int) -> None:
        """Note a revision."""
        if revision > self.revision:
            self.revision = revision

    def __enter__(self) -> Self:
        self._bound.append(CURRENT.set(self))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        CURRENT.reset(self._bound.pop())


CURRENT: ContextVar[Session | None] = ContextVar("collectionstore_session", default=None)
