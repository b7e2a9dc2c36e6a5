"""The members of the cluster as a client knows them: found through seeds, kept up to date, asked by load and role."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final

import aiohttp
import msgspec

from collectionstore.runtime.authorization import Authorization
from collectionstore.runtime.choice import Load, choose
from collectionstore.runtime.trust import Trust
from collectionstore.settings.options import Options, is_private
from collectionstore.transport.failures import AttemptFailed, StreamRefused
from collectionstore.transport.requests import send
from collectionstore.transport.stream import Stream, open_stream
from collectionstore.wire.requests import Request

BUSY: Final = 256
"""Operations in flight at which another stream is opened to the same member."""
NO_STREAMS: Final = frozenset((400, 404, 405, 426, 501))
"""A handshake that is answered so: something between us takes no WebSockets."""


class Member:
    """One member, and what is open to it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, options: Options) -> None:
        self.url = url
        self._options = options
        self.load = Load()
        self.name = ""
        self.voter = True
        self.leads = False
        self.streams_work = True
        self._session = session
        self._streams: list[Stream] = []
        self._requests = 0
        self._opening = asyncio.Lock()

    @property
    def inflight(self) -> int:
        """How many calls it has to answer."""
        return self._requests + sum(one.inflight for one in self._streams)

    async def stream(self, authorization: Authorization) -> Stream:
        """Return a stream that takes operations; opens one if there is none, or those there are are busy.

        Raises AttemptFailed, IncompatibleServer.
        """
        stream = self._free()
        if stream is not None:
            return stream
        async with self._opening:
            stream = self._free()
            if stream is not None:
                return stream
            headers, limit_s = await authorization.headers(), self._options.connect_timeout_s
            try:
                stream = await open_stream(self._session, self.url, headers, limit_s)
            except StreamRefused as refused:
                if refused.status == 401 and authorization.refused(headers):
                    headers = await authorization.headers()
                    stream = await open_stream(self._session, self.url, headers, limit_s)
                else:
                    self.streams_work = refused.status not in NO_STREAMS
                    raise
            self._streams.append(stream)
            self.name = stream.hello.node or self.name
            return stream

    def _free(self) -> Stream | None:
        if any(one.closed.is_set() for one in self._streams):
            self._streams = [one for one in self._streams if not one.closed.is_set()]
        able = [one for one in self._streams if not one.leaving]
        if not able:
            return None
        best = able[0] if len(able) == 1 else min(able, key=lambda one: one.inflight)
        return None if best.inflight >= BUSY and len(able) < self._options.connections else best

    async def request(self, request: Request, headers: dict[str, str], timeout_s: float) -> Any:
        """Send a request. Raises AttemptFailed."""
        self._requests += 1
        try:
            return await send(self._session, self.url, request, headers, timeout_s)
        finally:
            self._requests -= 1

    async def close(self) -> None:
        """Close its streams."""
        for one in self._streams:
            await one.close()


class Members:
    """All members that are known. Belongs to one event loop."""

    def __init__(
        self,
        options: Options,
        session: aiohttp.ClientSession,
        authorization: Authorization,
        chance: Callable[[], float],
        trust: Trust | None = None,
    ) -> None:
        self._trust = trust
        self._options = options
        self._session = session
        self._authorization = authorization
        self._chance = chance
        self._loop = asyncio.get_running_loop()
        self._members = {url: Member(url, session, options) for url in options.seeds}
        self._found: tuple[str, ...] = ()
        self._looking: asyncio.Task[None] | None = None
        self._looked = float("-inf")
        self._closing: set[asyncio.Task[None]] = set()
        self.cluster_id = ""

    def known(self) -> tuple[Member, ...]:
        """Return all members."""
        return tuple(self._members.values())

    def pick(self, *, leader: bool, stale: bool, avoid: Iterable[Member] = ()) -> Member:
        """Return the member to ask: for writes the leader, if it is known; for stale reads any; else a voter."""
        self._look_if_due()
        now = self._loop.time()
        usable = [self._members[url] for url in self._found if url in self._members] or list(self._members.values())
        if all(not one.load.healthy(now) for one in usable):
            usable = list(self._members.values())  # the seeds may have come back under other addresses
        avoided = set(avoid)
        able = [one for one in usable if one not in avoided] or usable
        if leader:
            for one in able:
                if one.leads and one.load.healthy(now):
                    return one
        if not stale:
            able = [one for one in able if one.voter] or able
        return choose(able, now, self._chance)

    def failed(self, member: Member) -> None:
        """Note that a member did not answer, and look for what has changed."""
        member.load.failed(self._loop.time())
        member.leads = False
        self.look()

    def _look_if_due(self) -> None:
        if self._loop.time() - self._looked > self._options.refresh_s:
            self.look()

    def look(self) -> None:
        """Begin to look the members up, unless that is under way."""
        if self._looking is not None and not self._looking.done():
            return
        if self._options.discovery == "off" and self._trust is None:
            return
        self._looked = self._loop.time()
        self._looking = asyncio.create_task(self._look(), name="collectionstore members")

    async def looked(self) -> None:
        """Wait for the look that is under way, if there is one."""
        if self._looking is not None:
            await asyncio.shield(self._looking)

    async def _look(self) -> None:
        """Ask members for the cluster, the healthy ones first, until one answers; none does: all stays as it is."""
        if self._trust is not None:
            await asyncio.to_thread(self._trust.renew)
        if self._options.discovery == "off":
            return
        now = self._loop.time()
        asked = sorted(self._members.values(), key=lambda one: (not one.load.healthy(now), self._chance()))
        request = Request("GET", "/cluster", timed=False)
        for one in asked:
            try:
                answer = await one.request(
                    request, await self._authorization.headers(), self._options.connect_timeout_s
                )
            except AttemptFailed:
                one.load.failed(self._loop.time())
                continue
            if answer.status == 200 and answer.body is not None and self._adopt(answer.body):
                return

    def _adopt(self, body: bytes) -> bool:
        try:
            cluster = msgspec.json.decode(body, type=_Cluster)
        except msgspec.DecodeError:
            return False
        scheme = self._options.seeds[0].partition("://")[0]
        by_url = {
            (one.http_address if "://" in one.http_address else f"{scheme}://{one.http_address}").rstrip("/"): one
            for one in cluster.members
            if one.http_address
        }
        # Credentials go where TLS proves who takes them, or stay on this machine, whatever a member says.
        by_url = {
            url: one
            for url, one in by_url.items()
            if url.startswith(f"{scheme}://") and (self._options.credentials.empty or is_private(url))
        }
        if not by_url:
            return False
        self.cluster_id = cluster.cluster_id
        leader = cluster.leader.node_id if cluster.leader is not None else ""
        for url, one in by_url.items():
            member = self._members.get(url)
            if member is None:
                member = self._members[url] = Member(url, self._session, self._options)
            member.name, member.voter = one.name, one.role != "Learner"
            member.leads = one.node_id == leader
        for url in set(self._members) - set(by_url) - set(self._options.seeds):
            gone = asyncio.create_task(self._members.pop(url).close())
            self._closing.add(gone)
            gone.add_done_callback(self._closing.discard)
        self._found = tuple(by_url)
        return True

    async def close(self) -> None:
        """Close everything."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        await asyncio.gather(*self._closing, *(one.close() for one in self._members.values()), return_exceptions=True)


class _Leader(msgspec.Struct):
    node_id: str = ""


class _Member(msgspec.Struct):
    node_id: str
    name: str = ""
    http_address: str = ""
    role: str = "Voter"


class _Cluster(msgspec.Struct):
    members: list[_Member]
    cluster_id: str = ""
    leader: _Leader | None = None
