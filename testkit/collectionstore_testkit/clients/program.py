"""The program of the clients' pod: uses the cluster until SIGTERM, then reads every key once more and exits.

Every event is printed as a line of JSON, `Line`, so that at any time the pod's log contains the whole history. It is
mounted into the pod, and imports nothing but what is mounted beside it and what the node's image has.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import ssl
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final, TypeAlias

import aiohttp
import msgspec

from collectionstore_testkit.histories.http_store import COLLECTION
from collectionstore_testkit.histories.operations import Operation
from collectionstore_testkit.histories.workload import Workload, WorkloadSettings

PRINT_S: Final = 0.25
"""Interval at which completed operations are printed."""
WATCH_S: Final = 5.0
"""How long the clients stay with the same keys and connections: keys that transactions join are checked together, and
new connections reach all members, also those that were added later."""
KEYS: Final = 4
ATTEMPTS_MAX: Final = 40
TIMEOUT_S: Final = 2.0
RETRY_S: Final = 0.25
REACH_S: Final = 3.0


class Started(msgspec.Struct, frozen=True, tag="started"):
    """The collection is created, and the clients begin. Times are seconds of the pod's clock."""

    at: float


class Unreached(msgspec.Struct, frozen=True, tag="unreached"):
    """The cluster has not been reached, and why; printed once per reason."""

    reason: str


class Done(msgspec.Struct, frozen=True, tag="done"):
    """An operation has ended; a read that read nothing is counted in `Totals` alone."""

    operation: Operation


class Totals(msgspec.Struct, frozen=True, tag="totals"):
    """Counts of all operations until now."""

    at: float
    ok: int
    failed: int
    """The store guaranteed in every attempt that nothing was applied."""
    unknown: int
    retries: int
    writes: int
    """Acknowledged writes."""


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """A response violates the API."""

    reason: str


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """Nothing follows; `operations` is how many were printed."""

    at: float
    operations: int


class Untrusted(msgspec.Struct, frozen=True, tag="untrusted"):
    """The published trust could not be read: what was read before goes on, and it is read again a moment later."""

    reason: str


Line: TypeAlias = Started | Unreached | Done | Totals | Broken | Ended | Untrusted


class Clients:
    """All clients of one cluster, one watch of them after the other."""

    def __init__(
        self, url: str, trust: str | None, *, seed: int, clients: int, rate: float, token: str | None = None
    ) -> None:
        """`rate` is in operations a second, by all clients together, when answers take no time.

        `token` is a file with a bearer token, read for every request: it may be rotated at any time.
        """
        self._url = url
        self._trust = trust
        self._token = None if token is None else Path(token)
        self._tls = ssl.create_default_context(cafile=trust) if trust else None
        self._random = random.Random(f"clients {seed}")
        self._settings = WorkloadSettings(
            clients=clients,
            keys=KEYS,
            operations_per_key=1 << 30,
            timeout_s=TIMEOUT_S,
            pause_s=2 * clients / rate,
            # As a careful application does: every write has an idempotency key and is retried.
            keyed=1.0,
            attempts_max=ATTEMPTS_MAX,
            failure_pause_s=RETRY_S,
            reads_again=True,
        )
        self._watches: list[Workload] = []
        self._printed: list[int] = []
        self._operations = 0
        self.over = asyncio.Event()

    async def run(self) -> None:
        """Run until SIGTERM, and print every event."""
        async with AsyncExitStack() as sessions:
            await self._reach(await sessions.enter_async_context(self._session()))
            _print(Started(time.monotonic()))
            printing = asyncio.create_task(self._print_all())
            try:
                await self._work(sessions)
                for watch in self._watches:
                    await watch.read_all()
            except* AssertionError as broken:
                _print(Broken("; ".join(_texts(broken))))
            finally:
                printing.cancel()
                await asyncio.gather(printing, return_exceptions=True)
        self._print_new()
        _print(Ended(time.monotonic(), self._operations))

    async def _reach(self, session: aiohttp.ClientSession) -> None:
        last_reason = ""
        while not self.over.is_set():
            try:
                async with session.put(
                    f"{self._url}/api/v1/collections/{COLLECTION}", timeout=aiohttp.ClientTimeout(total=REACH_S)
                ) as answer:
                    if answer.status in (200, 201):
                        return
                    reason = f"{answer.status} {await answer.text()}"
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
            if reason != last_reason:
                _print(Unreached(reason))
                last_reason = reason
            await asyncio.sleep(RETRY_S)

    async def _work(self, sessions: AsyncExitStack) -> None:
        """Replace the clients periodically; the previous ones finish their operations."""
        async with asyncio.TaskGroup() as group:
            while not self.over.is_set():
                watch = self._watch(await sessions.enter_async_context(self._session()))
                group.create_task(watch.run(until=float("inf")))
                try:
                    async with asyncio.timeout(WATCH_S):
                        await self.over.wait()
                except TimeoutError:
                    pass  # time for the next
                watch.stop()

    def _watch(self, session: aiohttp.ClientSession) -> Workload:
        watch = Workload(
            urls=lambda: [self._url],
            session=session,
            now=time.monotonic,
            random=random.Random(self._random.random()),
            settings=self._settings,
            name=f"w{len(self._watches)}",
        )
        self._watches.append(watch)
        self._printed.append(0)
        return watch

    def _session(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=self._tls or True)
        return aiohttp.ClientSession(connector=connector, middlewares=(self._authorize,))

    async def _authorize(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if self._token is not None:
            request.headers["Authorization"] = f"Bearer {self._token.read_text().strip()}"
        return await handler(request)

    async def _print_all(self) -> None:
        while True:
            await asyncio.sleep(PRINT_S)
            self._print_new()
            if self._tls is not None and self._trust is not None:
                # The authority's key may be rotated: what is published now is trusted from now on, too.
                try:
                    self._tls.load_verify_locations(self._trust)
                except ssl.SSLError as error:
                    # No certificate, which a member would not accept either: scenarios break it on purpose.
                    _print(Untrusted(str(error)))

    def _print_new(self) -> None:
        for number, watch in enumerate(self._watches):
            # Every watch counts from 1.
            for one in watch.history[self._printed[number] :]:
                self._operations += 1
                _print(Done(msgspec.structs.replace(one, id=self._operations)))
            self._printed[number] = len(watch.history)
        progress = [watch.progress for watch in self._watches]
        outcomes: Counter[str] = sum((one.outcomes for one in progress), Counter())
        _print(
            Totals(
                at=time.monotonic(),
                ok=outcomes["ok"],
                failed=outcomes["failed"],
                unknown=outcomes["unknown"],
                retries=sum(one.retries for one in progress),
                writes=sum(one.writes for one in progress),
            )
        )


def _texts(error: BaseException) -> list[str]:
    if isinstance(error, BaseExceptionGroup):
        return [text for one in error.exceptions for text in _texts(one)]
    return [str(error)]


def _print(line: Line) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.buffer.flush()


async def _run(options: argparse.Namespace) -> None:
    clients = Clients(
        options.url,
        options.trust,
        seed=options.seed,
        clients=options.clients,
        rate=options.rate,
        token=options.token,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, clients.over.set)
    await clients.run()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the clients."""
    parser = argparse.ArgumentParser(prog="clients", description=__doc__)
    parser.add_argument("url", help="base URL of the Service")
    parser.add_argument("--trust", help="file with the authority that must have signed its certificate")
    parser.add_argument("--token", help="file with a bearer token, read for every request")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", type=int, default=4)
    parser.add_argument("--rate", type=float, default=40.0, help="operations a second")
    asyncio.run(_run(parser.parse_args(arguments)))
