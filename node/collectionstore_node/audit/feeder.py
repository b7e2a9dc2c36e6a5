"""`Feeder`: feeds one sink from a bounded queue, and tries again while it fails.

Records wait in memory, in order. A batch that the sink has not taken is sent again, after pauses that grow, until it
is: no record is passed over for another one. While the queue is full what comes is dropped and counted, and the sink
gets a record of that, in its chain, as soon as it takes records again. A process that ends loses what is queued, but
for what the sinks take within `CLOSE_S`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import structlog

from collectionstore_node.audit.events import OVERHEAD_BYTES, Dropped, Entry, size_of
from collectionstore_node.audit.sinks import Sink, SinkFailed

BATCH_MAX: Final = 512
"""Records of a batch."""
BATCH_BYTES_MAX: Final = 1 << 20
RETRY_S_MIN: Final = 0.5
RETRY_S_MAX: Final = 30.0
ANCHOR_S: Final = 300.0
"""How often an anchor is logged: where a chain stands, kept in another place than its records."""
STALLED_S: Final = 15.0
"""A sink that takes longer for a batch counts as failing, although nothing has failed yet."""
CLOSE_S: Final = 2.0

log = structlog.get_logger()


class FeederSeries(Protocol):
    """What is counted of one sink."""

    def written(self, records: int) -> None:
        """Count records that the sink has taken."""

    def dropped(self, records: int) -> None:
        """Count records that were lost."""

    def failed(self) -> None:
        """Count an attempt that failed."""


class Feeder:
    """The queue of one sink, and what empties it. Belongs to one event loop."""

    def __init__(
        self,
        name: str,
        sink: Sink,
        series: FeederSeries,
        *,
        bytes_max: int,
        clock: Callable[[], float],
        wall_ms: Callable[[], int],
        sleep: Callable[[float], Awaitable[None]],
        random: Callable[[], float],
    ) -> None:
        """`clock` is monotonic, in seconds, and `sleep` waits by it; `random` is in [0, 1), and spreads retries."""
        self.name = name
        self.sink = sink
        self._series = series
        self.bytes_max = bytes_max
        self._clock = clock
        self._wall_ms = wall_ms
        self._sleep = sleep
        self._random = random
        self._queue: deque[Entry] = deque()
        self.bytes = 0
        """Size of the records that the sink has not taken."""
        self._wake = asyncio.Event()
        self._delivered = asyncio.Event()
        self._sending_since: float | None = None
        self._lost = 0
        """Records that were dropped since the last one that the sink was told of."""
        self.dropped = 0
        """Records that were dropped since the start."""
        self.error = ""
        """Why the last attempt failed; empty if it did not."""
        self._task: asyncio.Task[None] | None = None
        self._anchored_at = float("-inf")
        self._anchored = 0

    @property
    def queued(self) -> int:
        """Number of records that the sink has not taken."""
        return len(self._queue)

    @property
    def failing(self) -> bool:
        """Whether the sink takes no records now."""
        since = self._sending_since
        return bool(self.error) or (since is not None and self._clock() - since >= STALLED_S)

    @property
    def failure(self) -> str:
        """Why; empty if it does."""
        return self.error or (f"a batch takes longer than {STALLED_S:g} s" if self.failing else "")

    def has_room(self, size_bytes: int) -> bool:
        """Return whether records of that size would fit now."""
        return self.bytes + size_bytes <= self.bytes_max

    def start(self) -> asyncio.Task[None]:
        """Begin to feed the sink, and return the task that does it until it is closed."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"audit {self.name}")
        return self._task

    def put(self, entry: Entry, *, spare_bytes: int = 0) -> None:
        """Queue a record, or drop it if the queue is full, or would have less than `spare_bytes` left."""
        size = size_of(entry)
        # With the record of what was lost before it, which stands where that would.
        if not self.has_room(spare_bytes + (size + OVERHEAD_BYTES if self._lost else size)):
            if not self._lost:
                log.error("audit.dropping", sink=self.name, queued=len(self._queue), reason=self.failure)
            self._lost += 1
            self.dropped += 1
            self._series.dropped(1)
            return
        if self._lost:
            self._queue_lost()
        self._queue.append(entry)
        self.bytes += size
        self._wake.set()

    def _queue_lost(self) -> None:
        entry = Dropped(self._wall_ms(), self._lost)
        self._lost = 0
        self._queue.append(entry)
        self.bytes += size_of(entry)

    async def close(self) -> None:
        """Send what is queued, for at most `CLOSE_S`; the rest is lost, and counted."""
        if self._task is not None:
            if self._queue:
                flushing = asyncio.get_running_loop().create_task(self._flushed())
                await asyncio.wait((flushing, self._task), timeout=CLOSE_S, return_when=asyncio.FIRST_COMPLETED)
                flushing.cancel()
                await asyncio.gather(flushing, return_exceptions=True)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._queue:
            log.error("audit.lost", sink=self.name, records=len(self._queue), reason=self.failure)
            self._series.dropped(len(self._queue))
        self._anchor(at_least_s=0.0)
        await self.sink.close()

    async def _flushed(self) -> None:
        while self._queue:
            self._delivered.clear()
            await self._delivered.wait()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.sink.linger_s:
                await self._sleep(self.sink.linger_s)
            while self._queue or self._lost:
                if not self._queue:
                    self._queue_lost()
                await self._deliver(self._batch())

    def _batch(self) -> list[Entry]:
        """Return the next records; they stay in the queue until the sink has them."""
        batch: list[Entry] = []
        size = 0
        for entry in self._queue:
            size += size_of(entry)
            if batch and (len(batch) >= BATCH_MAX or size > BATCH_BYTES_MAX):
                break
            batch.append(entry)
        return batch

    async def _deliver(self, batch: list[Entry]) -> None:
        """Send a batch until the sink has taken it."""
        pause_s = RETRY_S_MIN
        while True:
            self._sending_since = self._clock()
            try:
                await self.sink.send(batch)
            except SinkFailed as error:
                self._fail(str(error))
            except Exception as error:  # a bug of a sink: a member must not end for it, and it is told as any failure
                self._fail(f"unexpected {type(error).__name__}")
            else:
                break
            finally:
                self._sending_since = None
            # Spread over half to one and a half of it: sinks of many members must not come together.
            await self._sleep(pause_s * (0.5 + self._random()))
            pause_s = min(2 * pause_s, RETRY_S_MAX)
        for entry in batch:
            self.bytes -= size_of(entry)
            self._queue.popleft()
        self._anchor(at_least_s=ANCHOR_S)
        self._series.written(sum(not isinstance(entry, Dropped) for entry in batch))
        self._delivered.set()
        if self.error:
            self.error = ""
            log.info("audit.sink_recovered", sink=self.name, queued=len(self._queue), dropped=self.dropped)

    def _anchor(self, *, at_least_s: float) -> None:
        now, position = self._clock(), self.sink.position
        if now - self._anchored_at >= at_least_s and position.sequence != self._anchored:
            self._anchored_at, self._anchored = now, position.sequence
            log.info(
                "audit.anchored", sink=self.name, chain=position.chain, sequence=position.sequence, hash=position.hash
            )

    def _fail(self, reason: str) -> None:
        self._series.failed()
        if not self.error:
            log.error("audit.sink_failed", sink=self.name, reason=reason)
        self.error = reason
