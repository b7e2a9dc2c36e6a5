"""`AsyncRuntime`: everything under a client, in one event loop; made on first use, refused to other loops and forks."""

from __future__ import annotations

import asyncio
import os
import platform
import random
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import aiohttp

from collectionstore.errors import ClientClosed, WrongEventLoop
from collectionstore.runtime.authorization import Authorization
from collectionstore.runtime.calls import Calls
from collectionstore.runtime.hooks import Hooks
from collectionstore.runtime.keeping import Keeper
from collectionstore.runtime.keys import Keys
from collectionstore.runtime.lines import LineFeed
from collectionstore.runtime.members import Members
from collectionstore.runtime.trust import Trust
from collectionstore.runtime.watching import OnGap, WatchFeed
from collectionstore.settings.options import Options
from collectionstore.wire.answers import Answer
from collectionstore.wire.operations import Operation
from collectionstore.wire.requests import Request

CONNECTIONS_OF_A_MEMBER: Final = 32
"""Of requests, beside the streams."""


class _Parts:
    """What belongs to the loop."""

    def __init__(self, options: Options, hooks: Hooks | None) -> None:
        chance = random.Random().random
        trust = None if options.tls is None else Trust(options.tls)
        connector = aiohttp.TCPConnector(
            limit=0,
            limit_per_host=CONNECTIONS_OF_A_MEMBER + options.connections,
            ssl=True if trust is None else trust.context,
        )
        self.session = aiohttp.ClientSession(
            connector=connector,
            headers={"User-Agent": options.user_agent or _user_agent()},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout_s),
            trust_env=False,
        )
        self.authorization = Authorization(options.credentials)
        self.members = Members(options, self.session, self.authorization, chance, trust)
        self.calls = Calls(options, self.members, self.authorization, Keys(), chance, hooks=hooks)
        self.chance = chance


class AsyncRuntime:
    """Belongs to the event loop in which it is used first."""

    def __init__(self, options: Options, hooks: Hooks | None = None) -> None:
        self.options = options
        self._hooks = hooks
        self._parts: _Parts | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._closed = False
        self._keepers: set[Keeper] = set()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def _ready(self) -> _Parts:
        """Return the parts. Raises ClientClosed, WrongEventLoop, ConfigurationError."""
        parts = self._parts
        if parts is not None and not self._closed and asyncio.get_running_loop() is self._loop:
            if os.getpid() != self._pid:
                raise WrongEventLoop("the process was forked: make a client in each process")
            return parts
        if self._closed:
            raise ClientClosed("the client was closed")
        if os.getpid() != self._pid:
            raise WrongEventLoop("the process was forked: make a client in each process")
        loop = asyncio.get_running_loop()
        if self._loop is not None:
            raise WrongEventLoop("the client belongs to another event loop: make one for each")
        self._parts = _Parts(self.options, self._hooks)
        self._loop = loop
        return self._parts

    async def call(self, operation: Operation, timeout_s: float | None = None) -> Answer:
        """Make an operation. Raises CollectionStoreError."""
        return await self._ready().calls.operation(operation, timeout_s or self.options.timeout_s)

    async def send(self, request: Request, timeout_s: float | None = None) -> Answer:
        """Send a request. Raises CollectionStoreError."""
        return await self._ready().calls.request(request, timeout_s or self.options.timeout_s)

    async def open_watch(
        self, body: Mapping[str, Any], on_gap: OnGap, consumed: Mapping[str, Any] | None = None
    ) -> WatchFeed:
        """Begin a watch. Raises CollectionStoreError."""
        parts = self._ready()
        feed = WatchFeed(
            parts.members,
            parts.authorization,
            body,
            stream=self.options.stream == "auto",
            on_gap=on_gap,
            timeout_s=self.options.timeout_s,
            chance=parts.chance,
        )
        if consumed is not None:
            feed.of_consumer(consumed)
        await feed.begin()
        return feed

    async def open_lines(self, request: Request) -> LineFeed:
        """Begin a response of lines."""
        parts = self._ready()
        return LineFeed(parts.session, parts.members, parts.authorization, request)

    async def keep(self, renewal: Request, ttl_s: float) -> Keeper:
        """Send `renewal` at each third of `ttl_s`, until it is refused or the keeper is stopped."""
        calls = self._ready().calls

        async def renew(timeout_s: float) -> Answer:
            return await calls.request(renewal, timeout_s)

        keeper = Keeper(renew, ttl_s)
        self._keepers.add(keeper)
        return keeper

    async def release(self, keeper: Keeper) -> None:
        """Stop a keeper."""
        self._keepers.discard(keeper)
        await keeper.stop()

    async def sleep(self, seconds: float) -> None:
        """Wait between attempts that the user has asked for."""
        await asyncio.sleep(seconds)

    def chance(self) -> float:
        """Return a random number in [0, 1), for pauses."""
        return random.random()

    async def refresh(self) -> None:
        """Look the members up now."""
        members = self._ready().members
        members.look()
        await members.looked()

    async def close(self) -> None:
        """Close all connections; what is under way fails. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        if self._parts is None or os.getpid() != self._pid:
            return
        for keeper in tuple(self._keepers):
            await keeper.stop()
        await self._parts.members.close()
        await self._parts.session.close()


def _user_agent() -> str:
    try:
        own = version("collectionstore")
    except PackageNotFoundError:
        own = "unknown"
    return f"collectionstore-python/{own} Python/{platform.python_version()} aiohttp/{aiohttp.__version__}"
