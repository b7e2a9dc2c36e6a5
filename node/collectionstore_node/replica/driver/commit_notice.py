"""Tells followers a commit index that no further entry carries, after a moment.

The next entry tells the commit index of the one before it, so a client that writes one document after the other costs
each follower one message per write, and one reply. After the last one followers learn its commit by a message of its
own. Nothing waits for that: an acknowledged write is committed, and a linearizable read on a follower has its leader
tell the commit index at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from collectionstore_node.raft.messages import Index
from collectionstore_node.raft.node import RaftNode

COMMIT_LAG_S: Final = 0.01
"""How long a commit index waits for an entry, at least; at most twice that."""


class CommitNotice:
    """One timer of one driver. Belongs to the event loop; `core` returns the core, `wake` wakes the driver."""

    def __init__(self, core: Callable[[], RaftNode], wake: Callable[[], None]) -> None:
        self._core = core
        self._wake = wake
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def arm(self) -> None:
        """Note that followers may not know the commit index; call it when the core has no `Ready`."""
        # One timer for many commits: it is not cancelled when an entry was faster, but finds another index.
        if self._timer is None and (untold := self._core().untold_commit):
            self._timer = self._loop.call_later(COMMIT_LAG_S, self._lapsed, untold)

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _lapsed(self, waiting: Index) -> None:
        self._timer = None
        core = self._core()
        if core.untold_commit == waiting:
            core.tell_commit()
            self._wake()
        else:
            self.arm()
