"""`Runtime`: the same for programs without an event loop. The loop runs in a thread of its own, shared by all threads.

So operations of many threads share streams, what is kept alive is renewed while the program works, and the behaviour is
that of `AsyncRuntime`. The thread ends when the client is closed, or with the process.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Generic, Protocol, TypeVar

from collectionstore.errors import ClientClosed, InvalidOperation, WrongEventLoop
from collectionstore.runtime.hooks import Hooks
from collectionstore.runtime.keeping import Keeper
from collectionstore.runtime.lines import LineFeed
from collectionstore.runtime.loop import AsyncRuntime
from collectionstore.runtime.watching import OnGap, WatchFeed, WatchItem
from collectionstore.settings.options import Options
from collectionstore.wire.answers import Answer
from collectionstore.wire.operations import Operation
from collectionstore.wire.requests import Request

Item = TypeVar("Item")
Result = TypeVar("Result")
Item_co = TypeVar("Item_co", covariant=True)


class _Feed(Protocol[Item_co]):
    async def next(self) -> Item_co | None: ...
    async def close(self) -> None: ...


class BlockingFeed(Generic[Item]):
    """A feed whose `next` blocks the thread that calls it."""

    def __init__(self, runtime: Runtime, feed: _Feed[Item]) -> None:
        self._runtime = runtime
        self._feed = feed

    @property
    def token(self) -> str | None:
        """Of a watch: where to go on."""
        token: str | None = getattr(self._feed, "token", None)
        return token

    @property
    def revision(self) -> int:
        """Of lines: `X-Revision`."""
        return int(getattr(self._feed, "revision", 0))

    def next(self) -> Item | None:
        """Return the next item, None at the end."""
        return self._runtime.run(self._feed.next())

    def close(self) -> None:
        """End it."""
        if not self._runtime.closed:
            self._runtime.run(self._feed.close())


class BlockingKeeper:
    """A keeper that is asked from any thread."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper

    @property
    def lost(self) -> bool:
        """Whether it may be over."""
        return self.keeper.lost

    @property
    def reason(self) -> str:
        """Why."""
        return self.keeper.reason


class Runtime:
    """Usable by any number of threads of one process."""

    def __init__(self, options: Options, hooks: Hooks | None = None) -> None:
        self.options = options
        self._inner = AsyncRuntime(options, hooks)
        self._pid = os.getpid()
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` in the loop's thread and return its result. Interrupted, as by Ctrl-C, it is cancelled."""
        try:
            loop = self._started()
        except BaseException:
            work.close()
            raise
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def call(self, operation: Operation, timeout_s: float | None = None) -> Answer:
        """Make an operation."""
        return self.run(self._inner.call(operation, timeout_s))

    def send(self, request: Request, timeout_s: float | None = None) -> Answer:
        """Send a request."""
        return self.run(self._inner.send(request, timeout_s))

    def open_watch(
        self, body: Mapping[str, Any], on_gap: OnGap, consumed: Mapping[str, Any] | None = None
    ) -> BlockingFeed[WatchItem]:
        """Begin a watch."""
        feed: WatchFeed = self.run(self._inner.open_watch(body, on_gap, consumed))
        return BlockingFeed(self, feed)

    def open_lines(self, request: Request) -> BlockingFeed[bytes]:
        """Begin a response of lines."""
        feed: LineFeed = self.run(self._inner.open_lines(request))
        return BlockingFeed(self, feed)

    def keep(self, renewal: Request, ttl_s: float) -> BlockingKeeper:
        """Keep something alive."""
        return BlockingKeeper(self.run(self._inner.keep(renewal, ttl_s)))

    def release(self, keeper: BlockingKeeper) -> None:
        """Stop a keeper."""
        self.run(self._inner.release(keeper.keeper))

    def sleep(self, seconds: float) -> None:
        """Wait between attempts that the user has asked for."""
        time.sleep(seconds)

    def chance(self) -> float:
        """Return a random number in [0, 1), for pauses."""
        return random.random()

    def refresh(self) -> None:
        """Look the members up now."""
        self.run(self._inner.refresh())

    def close(self) -> None:
        """Close all connections and end the thread. Closing again does nothing."""
        with self._starting:
            if self._closed:
                return
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is None or thread is None or os.getpid() != self._pid:
            return
        asyncio.run_coroutine_threadsafe(self._inner.close(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

    def _started(self) -> asyncio.AbstractEventLoop:
        if os.getpid() != self._pid:
            raise WrongEventLoop("the process was forked: make a client in each process")
        loop = self._loop
        if loop is None or self._closed:
            with self._starting:
                if self._closed:
                    raise ClientClosed("the client was closed")
                if self._loop is None:
                    self._loop = asyncio.new_event_loop()
                    self._thread = threading.Thread(
                        target=_serve, args=(self._loop,), name="collectionstore client", daemon=True
                    )
                    self._thread.start()
                loop = self._loop
        if threading.current_thread() is self._thread:
            raise InvalidOperation("a blocking client is used in its own thread, as in a hook: use it elsewhere")
        return loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
