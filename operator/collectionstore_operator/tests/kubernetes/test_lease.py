"""Leader election: one leader at a time, each with a higher epoch than the one before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.lease import EPOCH, LEASE_S, RENEW_DEADLINE_S, Lease, LeaseLost
from collectionstore_operator.observability.metrics import OperatorMetrics
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock

PATH = "/apis/coordination.k8s.io/v1/namespaces/ops/leases/operator"
WALL = 1_800_000_000.5


class Election:
    """Several operators on one API server, with one clock that advances only while all of them sleep."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.clock = Clock()
        self.running = 1
        self.registry = CollectorRegistry()
        self._metrics = OperatorMetrics(self.registry)
        self._asleep: list[tuple[float, asyncio.Event]] = []

    def operator(self, identity: str, wall: float = WALL) -> Lease:
        return Lease(
            self.kube,
            name="operator",
            namespace="ops",
            identity=identity,
            clock=self.clock.time,
            wall=lambda: wall + self.clock.now,
            sleep=self.sleep,
            metrics=self._metrics,
        )

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has gone on so far."""
        woken = asyncio.Event()
        self._asleep.append((self.clock.now + seconds, woken))
        if len(self._asleep) == self.running:
            first = min(self._asleep, key=lambda one: one[0])
            self._asleep.remove(first)
            await self.clock.sleep(first[0] - self.clock.now)
            first[1].set()
        await woken.wait()


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    await server.stop()


@pytest.fixture
async def election(server: FakeApiServer) -> AsyncIterator[Election]:
    clock = Clock()
    async with await server.start() as client:
        yield Election(Kube(client, clock=clock.time, sleep=clock.sleep))


async def test_first_operator_acquires_at_once(server: FakeApiServer, election: Election) -> None:
    assert await election.operator("a").acquire() == int(WALL)
    assert server.objects[PATH]["spec"]["holderIdentity"] == "a"
    assert election.clock.now == 0


async def test_second_operator_waits_for_the_whole_lease_duration(election: Election) -> None:
    first, second = election.operator("a"), election.operator("b")
    epoch = await first.acquire()
    assert await second.acquire() > epoch
    assert election.clock.now >= LEASE_S > RENEW_DEADLINE_S


async def test_restarted_container_reacquires_at_once_with_a_higher_epoch(election: Election) -> None:
    """The identity is the pod's name; requests of the previous container are refused by their epoch."""
    epoch = await election.operator("a").acquire()
    assert await election.operator("a").acquire() > epoch
    assert election.clock.now == 0


async def test_renewal_keeps_the_lease(election: Election) -> None:
    """The second observes that the Lease changes, whatever its timestamps are."""
    first, second = election.operator("a"), election.operator("b", wall=WALL + 86_400)
    await first.acquire()
    election.running = 2
    keeping = asyncio.create_task(first.keep())
    waiting = asyncio.create_task(second.acquire())
    await election.clock.until(10 * LEASE_S)
    assert not waiting.done()
    assert not keeping.done()
    for task in (waiting, keeping):
        task.cancel()
    await asyncio.gather(waiting, keeping, return_exceptions=True)


async def test_released_lease_is_acquired_at_once(election: Election) -> None:
    first, second = election.operator("a"), election.operator("b")
    epoch = await first.acquire()
    await first.release()
    assert await second.acquire() == epoch + 1
    assert election.clock.now == 0


async def test_replaced_operator_exits(election: Election) -> None:
    first, second = election.operator("a"), election.operator("b")
    await first.acquire()
    await second.acquire()
    with pytest.raises(LeaseLost):
        await first.keep()


async def test_operator_that_reads_another_holder_exits(server: FakeApiServer, election: Election) -> None:
    lease = election.operator("a")
    await lease.acquire()
    server.put(PATH, {**server.objects[PATH], "spec": {"holderIdentity": "b"}})
    with pytest.raises(LeaseLost, match="taken over by b"):
        await lease.keep()


async def test_same_identity_with_another_epoch_is_another_operator(election: Election) -> None:
    """A restarted pod keeps its name; its previous process may still run."""
    first, second = election.operator("a"), election.operator("a")
    await first.acquire()
    await second.acquire()
    with pytest.raises(LeaseLost):
        await first.keep()


async def test_operator_that_cannot_renew_exits_before_another_may_acquire(
    server: FakeApiServer, election: Election
) -> None:
    lease = election.operator("a")
    await lease.acquire()

    async def behave(_request: web.Request) -> web.Response:
        return status(403, "Forbidden", "not any more")

    server.behave = behave
    with pytest.raises(LeaseLost, match="could not be renewed"):
        await lease.keep()
    assert RENEW_DEADLINE_S <= election.clock.now < LEASE_S
    failures = election.registry.get_sample_value("collectionstore_operator_lease_renew_failures_total")
    assert failures is not None
    assert failures > 1


async def test_suspended_operator_does_not_act_past_its_lease(election: Election) -> None:
    """A resumed process may act before its timers run."""
    lease = election.operator("a")
    assert not lease.holds
    await lease.acquire()
    assert lease.holds
    election.clock.now += RENEW_DEADLINE_S
    assert not lease.holds


async def test_epoch_rises_though_the_lease_was_deleted(server: FakeApiServer, election: Election) -> None:
    """Nodes keep the highest epoch they have seen; a lower one would lock out every operator."""
    epoch = await election.operator("a").acquire()
    del server.objects[PATH]
    election.clock.now += 60
    assert await election.operator("b").acquire() == epoch + 60


async def test_epoch_rises_though_the_clock_moved_back(server: FakeApiServer, election: Election) -> None:
    first = election.operator("a")
    epoch = await first.acquire()
    await first.release()
    assert await election.operator("b", wall=WALL - 3_600).acquire() == epoch + 1
    assert server.objects[PATH]["metadata"]["annotations"][EPOCH] == str(epoch + 1)


async def test_only_one_of_two_concurrent_candidates_acquires(election: Election) -> None:
    first, second = election.operator("a"), election.operator("b")
    done, waiting = await asyncio.wait(
        [asyncio.create_task(first.acquire()), asyncio.create_task(second.acquire())],
        return_when=asyncio.FIRST_COMPLETED,
    )
    assert len(done) == 1
    (loser,) = waiting
    winner_epoch = next(iter(done)).result()
    assert await loser > winner_epoch  # after the winner, who does not renew here, has been silent long enough
    assert election.clock.now >= LEASE_S
