"""`Watches`: change streams, each told what it asks for as fast as its client takes it.

Nothing waits in memory for a slow client: the history itself is the queue. A watch that its client has asked for more
takes a step through it, in one thread beside the event loop, where filters are asked and events are rendered; what is
new is read and decoded once for all watches that are as far as the state. Steps are counted, not timed: a simulation
replays.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from collectionstore_node.changes import Cursor, Event, Initial, Position, Recent, Scope, Selection, Tokens, event
from collectionstore_node.changes.events import FAILED, MOVED
from collectionstore_node.errors import (
    HistoryGone,
    InvalidRequest,
    ManyDeleted,
    NodeError,
    NotNow,
    Overloaded,
    UpgradePending,
)
from collectionstore_node.lifecycle import NO_MEMORY, end_without_memory
from collectionstore_node.service.door import Door
from collectionstore_node.service.membership import WatchStatus
from collectionstore_node.service.operations import Consistency, ReadConsistency, Start, WatchChanges
from collectionstore_node.service.watch_rounds import RECENT_BYTES_MAX, Round, Told
from collectionstore_node.statemachine.catalog import find_collection
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.history import kept_after
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.reads import scan_documents, scan_keys

WATCHES_MAX: Final = 2_048
"""Open watches of a member."""
OWNER_WATCHES_MAX: Final = 1_024
"""Those of one address."""
BEGINNING_MAX: Final = 4
"""Watches that are telling initial documents: each holds a view of the state open."""
HEARTBEAT_S: Final = 15.0
"""After so long without an event a watch says where it is."""
SWEEP_S: Final = 1.0
"""How often watches are looked at whose clients have gone, or heard nothing."""

RECLAIM_S: Final = 30.0

log = structlog.get_logger()


class Watch:
    """One watch. Call `next` again and again, one at a time, until an event ends it; then, or before, `close`."""

    def __init__(
        self,
        watches: Watches,
        cursor: Cursor,
        owner: object,
        gone: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
        *,
        once: bool,
    ) -> None:
        """`gone` says whether the client has left; `once`: see `Watches.open`."""
        self.cursor = cursor
        """Moved by the thread of watches, and read by nothing else while a round is under way."""
        self.owner = owner
        self.gone = gone
        self.once = once
        self.position = cursor.position
        """The place behind everything that `next` has returned."""
        self.quiet_since = loop.time()
        self.waiter: asyncio.Future[Told] | None = None
        self.stash: Told | None = None
        """What was found while no `next` waited."""
        self.in_round = False
        self.resting = False
        """Whether the state could not be read for it: again at the next sweep."""
        self.closed = False
        self._watches = watches
        self._loop = loop

    @property
    def token(self) -> str:
        """That of `position`: a watch that begins there goes on behind what `next` has returned."""
        return self._watches.tokens.encode(self.position)

    @property
    def beginning(self) -> bool:
        """Whether initial documents are still to be told: its token is of no use before that."""
        return self.cursor.beginning

    async def next(self) -> Told:
        """Return the next events; none, every `HEARTBEAT_S`, when there are none."""
        watches = self._watches
        told, self.stash = self.stash, None
        if told is None and watches.stopping:
            told = watches.farewell(self)
        if told is None:
            self.waiter = self._loop.create_future()
            watches.want(self)
            try:
                told = await self.waiter
            finally:
                self.waiter = None
                watches.unwant(self)
        self.position = told.position
        self.quiet_since = self._loop.time()
        watches.told += len(told.events)
        return told

    def expel(self) -> None:
        """End it with an event: its client has no credential any more. The token is behind what `next` has returned."""
        self._watches.expel(self)

    def close(self, reason: str = "left") -> None:
        """End it; a second time is nothing."""
        if not self.closed:
            self.closed = True
            self._watches.forget(self, reason)


class Watches:
    """The watches of a store: part of `Store`. Belongs to one event loop."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._replica = door.replica
        self._recent = Recent(RECENT_BYTES_MAX)
        self._open: dict[Watch, None] = {}
        self._owners: Counter[object] = Counter()
        self._wanting: dict[Watch, None] = {}
        self._executor: ThreadPoolExecutor | None = None
        self._rounds: asyncio.Task[None] | None = None
        self._reclaiming: asyncio.Task[None] | None = None
        self._unobserve: Callable[[], None] | None = None
        self._sweeping = False
        self._tokens: Tokens | None = None
        self.stopping = False
        """Whether the node stops: every watch says so, and ends."""
        self.told = 0
        """Events that were told."""
        self._ended: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many are open."""
        return len(self._open)

    @property
    def tokens(self) -> Tokens:
        """Those of this cluster."""
        if self._tokens is None:
            self._tokens = Tokens(self._replica.status().cluster_id)
        return self._tokens

    @property
    def ended(self) -> Mapping[str, int]:
        """How many have ended, by reason."""
        return self._ended

    @property
    def lag(self) -> int:
        """Return by how many revisions the last of them is behind the state of this member."""
        revision = self._replica.revision
        return max((revision - one.position.revision for one in self._open), default=0)

    def status(self) -> WatchStatus:
        """Return what operators need to know of them, from memory and one record."""
        try:
            history = read_header(self._replica.view).history
        except NodeError:
            # The status says itself why the state cannot be read, and must be answered nevertheless.
            history = None
        if history is None:
            return WatchStatus(len(self), self.lag)
        return WatchStatus(len(self), self.lag, history.kept_after, history.size_bytes)

    async def open(
        self,
        request: WatchChanges,
        *,
        consistency: ReadConsistency,
        timeout_s: float,
        owner: object = None,
        gone: Callable[[], bool] = lambda: False,
        once: bool = False,
    ) -> Watch:
        """Open a watch; `owner` is who shares `OWNER_WATCHES_MAX`, None for no share.

        With `once`, `next` returns no events as soon as there are none, and does not wait for any.

        Raises `HistoryGone`, `InvalidRequest("future_revision")`, `InvalidRequest("collection_not_found")`,
        `Overloaded` beyond the bounds, and `UpgradePending` before the feature level has a history.
        """
        door, replica, start = self._door, self._replica, request.start
        door.admit(request)
        self._check_places(owner)
        if isinstance(start, Position):
            if start.revision > replica.revision:
                # This member may be behind the one that told it.
                await door.confirm(Consistency.LINEARIZABLE, timeout_s)
        else:
            await door.confirm(consistency, timeout_s)
        # From here on without an await: what is checked, and where the watch begins, is of one state.
        self._check_places(owner)
        view = replica.view
        if read_header(view).level < CHANGES:
            raise UpgradePending("the cluster is being upgraded: it keeps no history of changes yet")
        position, initial = self._begin(request.selection, start)
        watch = Watch(self, Cursor(request.selection, position, self.tokens, initial), owner, gone, _loop(), once=once)
        self._open[watch] = None
        self._owners[owner] += 1
        if self._unobserve is None:
            self._unobserve = replica.observe_applied(self._applied)
        self._sweep_soon()
        return watch

    def _begin(self, selection: Selection, start: Start | Position) -> tuple[Position, Initial | None]:
        replica, scope = self._replica, selection.scope
        view, revision = replica.view, replica.revision
        if isinstance(start, Position):
            if start.revision > revision:
                raise InvalidRequest(
                    "future_revision", f"the revision {start.revision} is not reached: it is {revision}"
                )
            kept = kept_after(view)
            if start < Position(kept):
                raise HistoryGone(
                    f"the changes behind revision {start.revision} are not kept any more: read everything again, and "
                    f"watch from there; those behind revision {kept} are kept",
                    oldest=kept,
                )
            return start, None
        if scope.kind == "collection" and find_collection(view, scope.name) is None:
            raise InvalidRequest("collection_not_found", f"there is no collection {scope.name!r}")
        return Position(revision), self._initial(scope) if start is Start.SNAPSHOT else None

    def _initial(self, scope: Scope) -> Initial:
        if sum(one.beginning for one in self._open) >= BEGINNING_MAX:
            raise Overloaded(f"{BEGINNING_MAX} watches are reading their initial documents already")
        fixed = self._replica.view.fixed()
        return scan_documents(fixed, scope.name) if scope.kind == "collection" else scan_keys(fixed, scope.name)

    def _check_places(self, owner: object) -> None:
        if self.stopping:
            raise Overloaded("the node is stopping")
        if len(self._open) >= WATCHES_MAX:
            raise Overloaded(f"{WATCHES_MAX} watches are open already")
        if owner is not None and self._owners[owner] >= OWNER_WATCHES_MAX:
            raise Overloaded(f"{OWNER_WATCHES_MAX} watches of your address are open already")

    # Called by watches

    def want(self, watch: Watch) -> None:
        """Look for events of a watch, until its waiter is told some."""
        self._wanting[watch] = None
        if watch.in_round or watch.cursor.due(self._replica.revision):
            self.wake()
        elif watch.once:
            self._tell(watch, Told([], watch.position))

    def unwant(self, watch: Watch) -> None:
        """Do not look any more."""
        self._wanting.pop(watch, None)

    def forget(self, watch: Watch, reason: str) -> None:
        """Note that a watch was closed."""
        self._open.pop(watch, None)
        self.unwant(watch)
        self._owners[watch.owner] -= 1
        if not self._owners[watch.owner]:
            del self._owners[watch.owner]
        self._ended[reason] += 1
        if watch.waiter is not None and not watch.waiter.done():
            watch.waiter.set_exception(ConnectionResetError("the client has gone"))

    def farewell(self, watch: Watch) -> Told:
        """Return the end of a watch of a node that stops."""
        moved = event(MOVED, watch.token, reason="the member is stopping: go on with another one")
        return Told([moved], watch.position, ended=True)

    def expel(self, watch: Watch) -> None:
        """Tell a watch that its client is not admitted any more."""
        ended = event(FAILED, watch.token, code="unauthorized", detail="the credential of the watch has ended")
        self._tell(watch, Told([ended], watch.position, ended=True))

    # Rounds

    def _applied(self, _revision: int, _time_ms: int) -> None:
        self.wake()

    def wake(self) -> None:
        """Look whether there is something new for a watch that waits."""
        if not self._wanting or self._rounds is not None or self.stopping:
            return
        revision = self._replica.revision
        if any(one.cursor.due(revision) and not one.resting for one in self._wanting):
            self._rounds = _loop().create_task(self._run_rounds(), name="watches")

    async def _run_rounds(self) -> None:
        try:
            while not self.stopping:
                revision = self._replica.revision
                due = [one for one in self._wanting if one.cursor.due(revision) and not one.resting]
                if not due:
                    return
                await self._run_round(due, revision)
            self._say_farewell()
        except NO_MEMORY as error:
            end_without_memory("watches", error)
        except Exception as error:  # the boundary: their clients must not wait for ever
            log.error("watch.failed", exc_info=error)
            for watch in tuple(self._open):
                failed = event(FAILED, watch.token, code="internal_error", detail="see the node's log")
                self._tell(watch, Told([failed], watch.position, ended=True))
        finally:
            self._rounds = None

    async def _run_round(self, due: list[Watch], revision: int) -> None:
        for watch in due:
            watch.in_round = True
        cursors = [watch.cursor for watch in due]
        # All of one state, which holds still while the thread reads it.
        work = Round(self._replica.view.fixed(), revision, self._recent, self.tokens, cursors)
        if self._executor is None:
            self._executor = ThreadPoolExecutor(1, thread_name_prefix="watches")
        step = _loop().run_in_executor(self._executor, work.run)
        try:
            found = await asyncio.shield(step)
        except asyncio.CancelledError:
            await asyncio.wait((step,))
            raise
        finally:
            for watch in due:
                watch.in_round = False
        if work.gap is not None:
            self._reclaim(work.gap)
        for watch, told in zip(due, found, strict=False):
            if told is None:
                watch.resting = True
                continue
            if watch in self._wanting:
                # Behind all others: a watch that was not served in this round comes first in the next one.
                del self._wanting[watch]
                self._wanting[watch] = None
            if told.events or (watch.once and not watch.cursor.due(revision)):
                self._tell(watch, told)
            elif watch.stash is None:
                watch.position = told.position

    def _reclaim(self, gap: ManyDeleted) -> None:
        """Have deleted keys dropped that a watch could not pass, one range at a time; it asks again."""
        if self._reclaiming is None:
            work = self._replica.reclaim(gap.lo, gap.hi, timeout_s=RECLAIM_S)
            self._reclaiming = _loop().create_task(work, name="watches-reclaim")
            self._reclaiming.add_done_callback(self._reclaimed)

    def _reclaimed(self, task: asyncio.Task[None]) -> None:
        self._reclaiming = None
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, NotNow):
            log.error("watch.failed", exc_info=error)

    def _tell(self, watch: Watch, told: Told) -> None:
        if watch.closed:
            return
        waiter = watch.waiter
        if waiter is None or waiter.done():
            watch.stash = told
        else:
            self.unwant(watch)
            waiter.set_result(told)

    # Time

    def _sweep_soon(self) -> None:
        if not self._sweeping:
            self._sweeping = True
            _loop().call_later(SWEEP_S, self._sweep)

    def _sweep(self) -> None:
        """Again and again, as long as there are watches."""
        self._sweeping = False
        self.sweep(_loop().time())
        if self._open and not self.stopping:
            self._sweep_soon()
        elif self._unobserve is not None:
            self._unobserve()
            self._unobserve = None

    def sweep(self, now: float) -> None:
        """End the watches of clients that have gone, and tell those that heard nothing; `now` is loop time."""
        for watch in tuple(self._open):
            watch.resting = False
            if watch.gone():
                watch.close()
            elif now - watch.quiet_since >= HEARTBEAT_S and watch.waiter is not None and not watch.in_round:
                self._tell(watch, Told([], watch.position))
        self.wake()

    def stop(self) -> None:
        """Tell every watch that the node stops. What is being found for it is not lost: its token is behind it."""
        self.stopping = True
        self._say_farewell()

    def _say_farewell(self) -> None:
        for watch in tuple(self._open):
            if watch.waiter is not None and not watch.in_round:
                self._tell(watch, self.farewell(watch))

    def close(self) -> None:
        """End the thread, behind the step that it is at, before storage is closed. Blocks for as long as that takes."""
        self.stopping = True
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)


def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


__all__ = [
    "BEGINNING_MAX",
    "HEARTBEAT_S",
    "OWNER_WATCHES_MAX",
    "WATCHES_MAX",
    "Event",
    "Told",
    "Watch",
    "Watches",
]
