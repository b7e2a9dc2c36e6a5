"""Writers that remember every acknowledged write, and the check that none of them was lost.

Each write creates a document under a unique ID, with an Idempotency-Key, and is repeated with that key, on the
next node, until it is acknowledged or GIVE_UP_S have passed. An acknowledged document must be there in the end with
the same content and the revision that the acknowledgement named: a repeat that was applied twice would show.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

import aiohttp

from collectionstore_testkit.clusters.errors import ClusterFailed

COLLECTION = "acknowledged"
ATTEMPT_TIMEOUT_S = 1.0
"""An attempt without an answer for this long is repeated on another node; its outcome is unknown."""
RETRY_PAUSE_S = 0.01
GIVE_UP_S = 60.0
CHECKERS = 16
CHECK_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """One acknowledged write; the times on the clock of time.monotonic(), `sent_at` of the attempt that succeeded."""

    writer: int
    path: str
    document: dict[str, int]
    revision: int
    sent_at: float
    at: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What reading every acknowledged document back has shown."""

    checked: int
    missing: int
    different: int


class Writers:
    """A set of writers at a fixed total rate; `urls` gives the nodes that exist at the moment."""

    def __init__(
        self, session: aiohttp.ClientSession, urls: Callable[[], Sequence[str]], *, count: int, per_second: float
    ) -> None:
        self.acknowledged: list[Acknowledgement] = []
        """In order of acknowledgement."""
        self.given_up = 0
        self.retried: Counter[str] = Counter()
        """Attempts that were repeated, by cause; each such write was acknowledged later or abandoned."""
        self._session = session
        self._urls = urls
        self._count = count
        self._interval_s = count / per_second

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write until the block ends; a write that is under way then is finished first."""
        stop = asyncio.Event()
        first = len(self.acknowledged)
        tasks = [asyncio.create_task(self._write_until(stop, number, first)) for number in range(self._count)]
        try:
            yield
            stop.set()
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def resumed(self, since: float, *, all_of_them: bool = False, timeout_s: float = 60.0) -> float:
        """Wait for an acknowledgement of an attempt sent after `since`, or one of every writer; return its time.

        Attempts sent before do not count: their answer may have been on its way already. Raises ClusterFailed.
        """
        wanted = self._count if all_of_them else 1
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    first: dict[int, float] = {}
                    for one in reversed(self.acknowledged):
                        if one.at <= since:
                            break
                        if one.sent_at > since:
                            first[one.writer] = one.at
                    if len(first) >= wanted:
                        return max(first.values()) if all_of_them else min(first.values())
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise ClusterFailed(f"no write was acknowledged for {timeout_s:g} s") from None

    def longest_pause_s(self, begin: float, end: float) -> float:
        """Return the longest time within [begin, end) in which no write was acknowledged."""
        times = [begin, *(one.at for one in self.acknowledged if begin <= one.at < end), end]
        return max(after - before for before, after in pairwise(times))

    async def verify(self) -> Verdict:
        """Read every acknowledged document linearizably and compare. Raises ClusterFailed when that is impossible."""
        waiting = iter(list(self.acknowledged))
        missing = different = checked = 0

        async def check(place: int) -> None:
            nonlocal missing, different, checked
            for one in waiting:
                found = await self._read(one.path, place)
                checked += 1
                if found is None:
                    missing += 1
                elif found != (one.document, one.revision):
                    different += 1

        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                await asyncio.gather(*(check(place) for place in range(CHECKERS)))
        except TimeoutError:
            raise ClusterFailed(f"reading back took longer than {CHECK_TIMEOUT_S:g} s") from None
        return Verdict(checked, missing, different)

    async def _write_until(self, stop: asyncio.Event, number: int, first: int) -> None:
        place = number
        written = 0
        loop = asyncio.get_running_loop()
        while not stop.is_set():
            due = loop.time() + self._interval_s
            document = {"writer": number, "number": first + written}
            place = await self._write(number, f"{first:08d}-{number:02d}-{written:08d}", document, place)
            written += 1
            await asyncio.sleep(max(0.0, due - loop.time()))

    async def _write(self, writer: int, key: str, document: dict[str, int], place: int) -> int:
        """Write until acknowledged; return which node to use next time: the one that worked."""
        path = f"/api/v1/collections/{COLLECTION}/documents/{key}"
        give_up_at = time.monotonic() + GIVE_UP_S
        while time.monotonic() < give_up_at:
            urls = self._urls()
            sent_at = time.monotonic()
            revision = await self._attempt(urls[place % len(urls)] + path, key, document)
            if revision is not None:
                self.acknowledged.append(
                    Acknowledgement(writer, path, document, revision, sent_at, at=time.monotonic())
                )
                return place
            place += 1
            await asyncio.sleep(RETRY_PAUSE_S)
        self.given_up += 1
        return place

    async def _attempt(self, url: str, key: str, document: dict[str, int]) -> int | None:
        """Return the revision of the acknowledgement, or None with the cause counted. Raises ClusterFailed.

        A plain refusal is a fault of the cluster or of this program: the run ends. What may have been applied can be
        repeated in any case, since the key makes that harmless.
        """
        try:
            async with (
                asyncio.timeout(ATTEMPT_TIMEOUT_S),
                self._session.put(url, json=document, headers={"Idempotency-Key": key}) as response,
            ):
                content = await response.read()
        except TimeoutError:
            self.retried["timeout"] += 1
            return None
        except (aiohttp.ClientError, OSError) as error:
            self.retried[type(error).__name__] += 1
            return None
        if response.status in (200, 201):
            return int(response.headers["X-Revision"])
        problem = json.loads(content)
        if not problem["retryable"] and problem["outcome"] == "not_applied":
            raise ClusterFailed(f"a write was refused for good: {response.status} {content.decode()}")
        self.retried[f"{response.status} {problem['code']}"] += 1
        return None

    async def _read(self, path: str, place: int) -> tuple[dict[str, int], int] | None:
        """Return document and revision, or None when the cluster says that there is none."""
        while True:
            urls = self._urls()
            try:
                async with (
                    asyncio.timeout(ATTEMPT_TIMEOUT_S),
                    self._session.get(urls[place % len(urls)] + path) as response,
                ):
                    content = await response.read()
            except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
                content = b""
            else:
                if response.status == 200:
                    return json.loads(content), int(response.headers["ETag"].strip('"'))
                if response.status == 404:
                    return None
            place += 1
            await asyncio.sleep(RETRY_PAUSE_S)
