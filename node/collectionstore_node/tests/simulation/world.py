"""A world: members, an operator, clients and faults, from one seed, until it has come to rest and is checked."""

from __future__ import annotations

import asyncio
import gc
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Final, TypeVar

import aiohttp

from collectionstore_node.tests.simulation.admin import Admin
from collectionstore_node.tests.simulation.checks import Invariants, check_states, converged, describe
from collectionstore_node.tests.simulation.connector import MemoryConnector
from collectionstore_node.tests.simulation.costs import small_entries
from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.faults import Chaos
from collectionstore_node.tests.simulation.hosts import Cluster, Pace
from collectionstore_node.tests.simulation.indexer import Indexer, built, check_indexes
from collectionstore_node.tests.simulation.journal import kept
from collectionstore_node.tests.simulation.lives import Mortals, check_lives, died
from collectionstore_node.tests.simulation.loop import SimulatedLoop
from collectionstore_node.tests.simulation.member import CLIENT_PORT
from collectionstore_node.tests.simulation.network import Network
from collectionstore_node.tests.simulation.process import Process
from collectionstore_node.tests.simulation.users import Administrator, check_access
from collectionstore_node.tests.soak.report import Report
from collectionstore_testkit.histories.bank import Bank
from collectionstore_testkit.histories.checker import check
from collectionstore_testkit.histories.operations import Operation
from collectionstore_testkit.histories.workload import BrokenPromise, Workload, WorkloadSettings

_T = TypeVar("_T")

CHAOS_S: Final = 6.0
CALM_S: Final = 1.0
"""Clients go on this long after all faults."""
LOOK_S: Final = 0.05
REST_MAX_S: Final = 20.0
"""Longest time from the end of all faults until everybody agrees."""
OPERATOR: Final = "127.0.3.1"
CLIENTS: Final = "127.0.2.1"


class Violation(AssertionError):
    """What a world found wrong, with where everybody stood."""


class World:
    """One run. Everything random comes from `seed`."""

    def __init__(
        self, seed: int, directory: Path, tell: Callable[[str], None] | None = None, *, bank: bool = False
    ) -> None:
        """With `bank` a bank is run by interactive transactions, besides the other clients."""
        self.seed = seed
        self._with_bank = bank
        self.random = random = Random(seed)
        self.trace = Trace(tell)
        self.loop = SimulatedLoop(Random(random.getrandbits(64)), self.trace)
        self.network = Network(
            self.loop, Random(random.getrandbits(64)), self.trace, random.choice(((1e-4, 1e-3), (1e-3, 0.02)))
        )
        self.loop.network = self.network
        if random.random() < 0.3:
            self.network.kernel_bytes = random.choice((2 << 10, 16 << 10))
        if random.random() < 0.3:
            self.network.split = 0.3
        self.cluster = Cluster(
            self.loop, self.network, self.trace, Random(random.getrandbits(64)), _draw_pace(random), directory
        )
        self.entry_cost = random.choice((None, None, 1_500, 6_000))
        """What an entry may cost; so little defers commands all the time, and applies the log in many steps."""
        self.admin = Admin(self.cluster.hosts, self.trace, Random(random.getrandbits(64)))
        self.invariants = Invariants()
        voters = random.choice((1, 3, 3, 3, 5))
        for _ in range(max(3, voters) + random.choice((0, 0, 1))):
            self.cluster.add()
        self.admin.expected = self.cluster.hosts[:voters]
        self.chaos = Chaos(
            self.cluster,
            self.admin,
            (CLIENTS,),
            Random(random.getrandbits(64)),
            (0.05, random.choice((0.3, 0.8, 1.5))),
        )

    def run(self) -> Report:
        """Live from the first start to the last check. Raises `Violation`."""
        with kept(self.trace, self.cluster.failed), small_entries(self.entry_cost):
            try:
                self.loop.run_until_complete(self._live())
            finally:
                self.loop.close()
        return Report(
            seed=self.seed,
            simulated_s=self.loop.now,
            faults=+self.chaos.injected,
            operations=len(self.workload.history),
            trace=self.trace.hexdigest(),
            transactions={} if self.bank is None else dict(self.bank.outcomes),
        )

    async def _live(self) -> None:
        watching = asyncio.create_task(self._watch())
        try:
            await self._begin()
            self.chaos.start()
            end = self.loop.now + CHAOS_S + CALM_S
            banking = None if self.bank is None else self._use(self.bank.run(until=end))
            clients, indexing = self._use(self.workload.run(until=end)), self._use(self.indexer.run(end))
            dying = self._use(self.mortals.run(end))
            administering = self._use(self.administrator.run(end))
            await self._pass(CHAOS_S)
            self.trace.tell("world", "heals")
            await self.chaos.heal()
            await self._until(clients.done, "the clients' requests do not end")
            _raise_broken(clients)
            await self._until(indexing.done, "the requests for indexes do not end")
            indexing.result()
            if banking is not None:
                await self._until(banking.done, "the transactions of the bank do not end")
                _raise_broken(banking)
            await self._until(dying.done, "the requests for values that expire do not end")
            dying.result()
            await self._until(administering.done, "the requests for users and roles do not end")
            administering.result()
            await self._until(self._at_rest, "the members do not come to agree")
            self.trace.tell("world", "is at rest")
            reading = self._use(self.workload.read_all())
            await self._until(reading.done, "not everything can be read")
            reading.result()
            if self.bank is not None:
                checking = self._use(self.bank.check())
                await self._until(checking.done, "the fate of the bank's transactions is not to be learned")
                _raise_broken(checking)
            self._check()
        except AssertionError as error:
            raise Violation("\n  ".join((str(error), *self._picture()))) from error
        finally:
            watching.cancel()
            await self._end()

    async def _begin(self) -> None:
        for host in self.cluster.hosts:
            host.start()
        self._operator = Process("operator", OPERATOR)
        self._operating = self.loop.create_task(self.admin.run(), context=self._operator.context)
        await self._until(lambda: self.admin.settled, "the cluster did not form")
        self._clients = Process("clients", CLIENTS)
        self._session = await self._use(_make_session())
        self.workload = Workload(
            urls=self._urls,
            session=self._session,
            now=lambda: self.loop.now,
            random=Random(self.random.getrandbits(64)),
            settings=WorkloadSettings(
                clients=self.random.choice((2, 3, 5)),
                pause_s=self.random.choice((0.15, 0.3, 0.6)),
                timeout_s=1.0,
                updates=0.5,
            ),
        )
        self.indexer = Indexer(self._urls, self._session, lambda: self.loop.now, Random(self.random.getrandbits(64)))
        # A generator of its own: the rest of a world draws what it always drew.
        self.mortals = Mortals(self._urls, self._session, lambda: self.loop.now, Random(f"mortals {self.seed}"))
        self.administrator = Administrator(
            self._urls, self._session, lambda: self.loop.now, Random(f"administrator {self.seed}")
        )
        preparing = self._use(self.workload.prepare())
        await self._until(preparing.done, "the collection cannot be made")
        self.bank = None
        if self._with_bank:
            # A generator of its own: worlds without a bank draw what they always drew.
            self.bank = Bank(
                urls=self._urls,
                session=self._session,
                now=lambda: self.loop.now,
                random=Random(f"bank {self.seed}"),
                timeout_s=1.0,
                pause_s=0.1,
            )
            opening = self._use(self.bank.prepare())
            await self._until(opening.done, "the bank cannot be opened")
            opening.result()
        self.trace.tell("world", "is set up")

    def _use(self, work: Coroutine[None, None, _T]) -> asyncio.Task[_T]:
        """Do something as the clients do it."""
        return self.loop.create_task(work, context=self._clients.context)

    def _urls(self) -> list[str]:
        return [f"http://{host.address}:{CLIENT_PORT}" for host in self.cluster.hosts if host in self.admin.expected]

    def _check(self) -> None:
        """Raise `AssertionError` unless clients saw one store, and all members hold the same one."""
        for operation in self.workload.history:
            self.trace.note(b"operation", operation.id, len(operation.outcome), *_revision(operation))
        check_states(self.admin.expected)
        check_indexes(self.admin.expected)
        check_lives(self.admin.expected)
        check_access(self.admin.expected)
        self.trace.note(b"indexer", *(part for one in sorted(self.indexer.answers.items()) for part in one))
        self.trace.note(b"mortals", *sorted(self.mortals.answers.values()))
        self.trace.note(b"administrator", *sorted(self.administrator.answers.values()))
        verdict = check(self.workload.history)
        assert verdict.ok, verdict.explanation

    def _at_rest(self) -> bool:
        self.chaos.supervise()
        expected = self.admin.expected
        return self.admin.settled and converged(expected) and built(expected) and died(expected)

    async def _end(self) -> None:
        """Let every process end, those that were killed too, so that nothing is left when the loop is closed."""
        await self.chaos.stop()
        self._operating.cancel()
        self._session_closing = self._use(self._session.close())
        for host in self.cluster.hosts:
            host.resume()
            if host.up:
                host.kill()
        for _ in range(100):
            await asyncio.sleep(0.1)
            if not any(grave.tasks_left for grave in self.cluster.graves):
                return
        left = [task for grave in self.cluster.graves for task in grave.tasks_left]
        raise AssertionError(f"{len(left)} tasks do not end: {left[:3]}")

    async def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = self.loop.now + REST_MAX_S
        while not condition():
            if self.loop.now > deadline:
                raise AssertionError(f"{otherwise} within {REST_MAX_S:g} s")
            await self._pass(LOOK_S)

    async def _pass(self, seconds: float) -> None:
        """Let time pass, and raise what went wrong meanwhile."""
        end = self.loop.now + seconds
        while self.loop.now < end:
            await asyncio.sleep(min(LOOK_S, max(end - self.loop.now, 1e-6)))
            if self.cluster.failure is not None:
                raise self.cluster.failure

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            try:
                self.invariants.look(self.cluster.hosts)
            except AssertionError as error:
                self.cluster.failed(error)
                return

    def _picture(self) -> list[str]:
        return [f"seed {self.seed}, at {self.loop.now:.3f} s", *(describe(host) for host in self.cluster.hosts)]


def _raise_broken(clients: asyncio.Task[None]) -> None:
    """Raise `AssertionError` if a client received a result that no correct store returns."""
    error = clients.exception()
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, BrokenPromise):
        raise AssertionError(str(error)) from error
    clients.result()


async def _make_session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=MemoryConnector())


def _revision(operation: Operation) -> tuple[int, ...]:
    answer = operation.answer
    return () if answer is None or answer.revision is None else (answer.revision,)


def _draw_pace(random: Random) -> Pace:
    drift = random.choice((0.0, 0.0, 0.1))
    return Pace(
        heartbeat_ms=random.choice((150, 150, 150, 150, 150, 50, 50, 50, 50, 50, 50, 15)),
        snapshot_commands=random.choice((3, 8, 30)),
        clock_rates=(1 - drift, 1 + drift),
    )


def run(seed: int, tell: Callable[[str], None] | None = None, *, bank: bool = False) -> Report:
    """Run one world, with `bank` one with a bank. Raises `AssertionError`; the same seed does the same again."""
    memory = Path("/dev/shm")
    directory = Path(tempfile.mkdtemp(prefix="simulation-", dir=memory if memory.is_dir() else None))
    collecting = gc.isenabled()
    # A collection runs finalizers, at moments that depend on what ran before in this process.
    gc.disable()
    gc.freeze()
    try:
        return World(seed, directory, tell, bank=bank).run()
    finally:
        gc.collect()
        gc.unfreeze()
        if collecting:
            gc.enable()
        shutil.rmtree(directory, ignore_errors=True)
