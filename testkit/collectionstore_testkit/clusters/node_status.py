"""What nodes report about themselves on /status."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import aiohttp
import msgspec

from collectionstore_testkit.clusters.errors import ClusterFailed

STATUS_TIMEOUT_S: Final = 1.0


class Leader(msgspec.Struct, frozen=True):
    """The leader as a node knows it."""

    node_id: str
    name: str


class Configuration(msgspec.Struct, frozen=True):
    """The members of the configuration, by node ID."""

    voters: list[str]
    learners: list[str]
    joint: bool


class Member(msgspec.Struct, frozen=True):
    """A member as the leader reports it; other nodes report only the first three fields."""

    node_id: str
    name: str
    role: str
    match_index: int | None = None
    lag: int | None = None
    active: bool | None = None
    silent_ms: int | None = None
    snapshot: bool = False


class Peer(msgspec.Struct, frozen=True):
    """A node's connection to another one."""

    name: str
    connected: bool
    round_trip_ms: float | None
    round_trip_p50_ms: float | None
    handshake_ms: float | None


class Status(msgspec.Struct, frozen=True):
    """The fields of a node's /status that the tools use."""

    node_id: str
    name: str
    version: str
    role: str
    term: int
    leader: Leader | None
    commit_index: int
    applied_index: int
    first_index: int
    last_index: int
    revision: int
    data_bytes: int
    metrics_address: str
    configuration: Configuration
    members: list[Member]
    peers: list[Peer]
    pid: int
    state_digest: str = ""
    """Of all commands that were applied; equal on members with the same applied index."""
    feature_level: int = 1
    """Versions without feature levels do not report it, and have level 1."""

    @property
    def leads(self) -> bool:
        return self.role == "Leader"

    def member(self, name: str) -> Member | None:
        """Return the member called `name`."""
        return next((member for member in self.members if member.name == name), None)


class Nodes:
    """Reads the status of nodes by base URL."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def status(self, url: str) -> Status | None:
        """Return a node's status, None if it does not answer within STATUS_TIMEOUT_S."""
        try:
            async with asyncio.timeout(STATUS_TIMEOUT_S), self.session.get(f"{url}/status") as response:
                content = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None
        return msgspec.json.decode(content, type=Status) if response.status == 200 else None

    async def statuses(self, urls: Sequence[str]) -> dict[str, Status]:
        """Return the status of every node that answers, by URL."""
        answers = await asyncio.gather(*(self.status(url) for url in urls))
        return {url: status for url, status in zip(urls, answers, strict=True) if status is not None}

    async def leader(self, urls: Sequence[str], *, timeout_s: float = 10.0) -> tuple[str, Status]:
        """Return URL and status of the leader with the highest term. Raises ClusterFailed after the timeout."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    leaders = [item for item in (await self.statuses(urls)).items() if item[1].leads]
                    if leaders:
                        return max(leaders, key=lambda item: item[1].term)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise ClusterFailed(f"none of {', '.join(urls)} was leader within {timeout_s:g} s") from None
