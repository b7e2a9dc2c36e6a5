"""A few members on one event loop: real drivers and data directories; the network is a function call.

Time is the loop's, except for the clock that detects pauses, which a test advances: load on the
machine is no stall here. Disks hang or fail on request.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, Final, cast

import pytest

from collectionstore_node.errors import NotNow, StorageFailed
from collectionstore_node.logs import SlowLog, Thresholds
from collectionstore_node.metrics import ReplicaMetrics, member_metrics
from collectionstore_node.raft.messages import Message, NodeId
from collectionstore_node.replica import (
    NULL_OBSERVER,
    Clocks,
    Driver,
    LocalMember,
    PeerHandler,
    ProcessFacts,
    RecordingObserver,
    Replica,
    ReplicaSettings,
)
from collectionstore_node.replica.comparison import comparer
from collectionstore_node.replica.consensus import consensus
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.replica.observation.tracing_observer import TracingObserver
from collectionstore_node.replica.reporting.gauges import MemberGauges
from collectionstore_node.replica.storage_port import Storage
from collectionstore_node.statemachine.commands import Command, KeyRef, Put
from collectionstore_node.statemachine.levels import HIGHEST
from collectionstore_node.statemachine.reads import get_key
from collectionstore_node.storage import Database
from collectionstore_node.storage.log_store import LogStore
from collectionstore_node.tests.metrics.reading import sample_value
from collectionstore_node.tests.storage.entries import SMALL
from collectionstore_node.tracing.spans import Tracing
from collectionstore_node.transport import PeerAddress, PeerStatus, PeerUnavailable, SnapshotFailed

SETTINGS: Final = ReplicaSettings(
    tick_s=0.01,
    heartbeat_ticks=5,
    election_ticks=20,
    election_ticks_max=40,
    snapshot_commands=1_000_000,
    snapshot_log_bytes=1 << 30,
)
PATIENCE_S: Final = 30.0
"""Nothing here takes as long; a test that waits this long has failed."""


class StubbornLog:
    """A log whose syncs hang while `open` is not set, or fail once `broken` is true."""

    def __init__(self, log: LogStore) -> None:
        self._log = log
        self.open = threading.Event()
        self.open.set()
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def sync(self) -> None:
        self._obstacle()
        self._log.sync()

    def sync_entries(self) -> None:
        self._obstacle()
        self._log.sync_entries()

    def _obstacle(self) -> None:
        self.open.wait()
        if self.broken:
            raise StorageFailed("sync the WAL: Input/output error")


class StubbornStorage:
    """A data directory with such a log."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.log = StubbornLog(database.log)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


class Wires:
    """Carries messages between the members; messages of a held pair wait, as in a socket that is not read."""

    def __init__(self) -> None:
        self.members: dict[NodeId, Member] = {}
        self.held: set[tuple[NodeId, NodeId]] = set()
        self.waiting: list[Message] = []

    def hold(self, one: Member, *others: Member) -> None:
        """Hold everything that others send to `one`."""
        self.held |= {(other.id, one.id) for other in others}

    def isolate(self, one: Member) -> None:
        """Hold everything from and to `one`."""
        others = [other for other in self.members.values() if other is not one]
        self.hold(one, *others)
        for other in others:
            self.hold(other, one)

    def carry(self, message: Message) -> None:
        """Deliver in the next turn of the loop, or hold."""
        if (message.sender, message.to) in self.held:
            self.waiting.append(message)
        elif (receiver := self.members.get(message.to)) is not None:
            asyncio.get_running_loop().call_soon(receiver.handler.on_messages, message.sender, (message,))


class WireTransport:
    """A member's end of the wires."""

    def __init__(self, own: NodeId, wires: Wires) -> None:
        self._own = own
        self._wires = wires

    def set_peers(self, peers: Iterable[PeerAddress]) -> None:
        """Need no addresses."""

    def send(self, messages: Iterable[Message]) -> None:
        """Deliver each message."""
        for message in messages:
            self._wires.carry(message)

    async def request(self, to: NodeId, payload: bytes, timeout_s: float) -> bytes:
        """Ask at once; a held pair is one that is not connected."""
        del timeout_s
        if {(to, self._own), (self._own, to)} & self._wires.held:
            raise PeerUnavailable("held")
        try:
            return await self._wires.members[to].handler.on_request(self._own, payload)
        except NotNow as error:
            raise PeerUnavailable(str(error)) from None  # as the transport says it to the one that asks

    async def send_snapshot(self, to: NodeId, envelope: bytes, path: Path) -> None:
        """Carry no files."""
        raise SnapshotFailed(f"no wire for a snapshot to {to:016x}")

    def peers(self) -> tuple[PeerStatus, ...]:
        """Return nothing."""
        return ()


class Member:
    """One member, running."""

    def __init__(self, name: str, path: Path, wires: Wires, seed: int, tracing: Tracing | None = None) -> None:
        self.database = Database.open(path, cluster_id="test", name=name, tuning=SMALL)
        self.metrics = member_metrics()
        counted = ReplicaMetrics(self.metrics)
        self.now = 0.0
        """Time of the clock that detects pauses."""
        self.id = self.database.identity.node_id
        self.name = name
        storage = StubbornStorage(self.database)
        self.log = storage.log
        loop = asyncio.get_running_loop()
        traces = None if tracing is None else TracingObserver(tracing)
        self.spans = None if traces is None else traces.entries
        """What is noted of sampled entries; None while nothing is traced."""
        self.local = LocalMember(
            cast(Storage, storage),
            SETTINGS,
            counted,
            Clocks(Random(seed).random, lambda: 1_700_000_000_000, lambda: self.now),
            RecordingObserver(counted, SlowLog(Thresholds(), loop.time), loop.time, traces or NULL_OBSERVER),
        )
        self.consensus = self.local.consensus
        self.handler = PeerHandler(self.local)
        transport = WireTransport(self.id, wires)
        self.driver = Driver(self.local, transport)
        address = f"{name}:7401"
        self.replica = Replica(
            self.local,
            self.driver,
            transport,
            ProcessFacts("test", 1, address, f"http://{name}", address, address, address),
        )
        MemberGauges(self.local, self.driver, transport, self.metrics)
        self.task = asyncio.create_task(self.driver.run(), name=name)
        wires.members[self.id] = self

    async def put(self, key: str, value: bytes, *, timeout_s: float = PATIENCE_S) -> int:
        """Write through this member and return the revision."""
        command = Command(Put(KeyRef("test", key), value))
        return (await self.replica.propose(command, timeout_s=timeout_s)).revision

    async def get(self, key: str, *, timeout_s: float = PATIENCE_S) -> bytes | None:
        """Read through this member, linearizably."""
        await self.replica.read_barrier(timeout_s=timeout_s)
        stored = get_key(self.replica.view, "test", key)
        return None if stored is None else stored.value

    def series(self, name: str, **labels: str) -> float:
        """Return the value of a series."""
        value = sample_value(self.metrics, name, **labels)
        assert value is not None, name
        return value

    @property
    def ticks(self) -> int:
        """How many ticks there have been."""
        return int(self.series("collectionstore_event_loop_lag_seconds_count"))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for something that a tick or a Ready changes."""
        loop = asyncio.get_running_loop()
        await self.consensus.until(condition, loop.time() + PATIENCE_S)

    async def stop(self) -> None:
        """Stop as a process does."""
        self.log.open.set()
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.replica.close()
        await self.driver.close()
        self.local.close()
        if not self.database.failstop.failed:
            self.database.close()


def programs_support(level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make members what an earlier version was: its founder's cluster begins at `level`, and none raises it further."""
    monkeypatch.setattr(comparer, "HIGHEST", level)
    monkeypatch.setattr(consensus, "HIGHEST", level)


@asynccontextmanager
async def group(
    directory: Path, size: int, tracing: Callable[[str], Tracing | None] = lambda name: None, *, raised: bool = False
) -> AsyncIterator[tuple[Wires, Sequence[Member]]]:
    """Run members that all vote; the first of them leads. `tracing` is asked for each by its name.

    With `raised` the entry is applied that raises the feature level, which otherwise may come at any time.
    """
    wires = Wires()
    names = [f"n{number}" for number in range(size)]
    members = [Member(name, directory / name, wires, seed, tracing(name)) for seed, name in enumerate(names)]
    try:
        first = members[0]
        await first.replica.bootstrap()
        for action in ("add", "promote"):
            changes = tuple(
                MemberChange(action, one.id, one.name, f"{one.name}:7401", f"http://{one.name}") for one in members[1:]
            )
            if changes:
                await first.replica.change_members(MembersRequest(changes), timeout_s=PATIENCE_S)
                await first.until(lambda: _caught_up(first))
        for member in members if raised else ():
            await member.until(lambda member=member: member.local.applier.level == HIGHEST)  # type: ignore[misc]
        yield wires, members
    finally:
        for member in members:
            await member.stop()


def _caught_up(leader: Member) -> bool:
    raft = leader.local.raft_status()
    return all(one.match_index == raft.last_index for one in raft.progress)
