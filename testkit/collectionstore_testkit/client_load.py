"""The Python client on a local cluster while leaders are killed and paused, members restarted and cut off.

`python -m collectionstore_testkit.client_load --operations 100000`: no call may fail within its deadline, nothing may
be lost or done twice, the history must be linearizable, and a watch must tell every change once, in order.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import aiohttp

from collectionstore import AsyncClient
from collectionstore.errors import CollectionStoreError, PreconditionFailed
from collectionstore_testkit.clusters.local import LocalCluster, local_cluster
from collectionstore_testkit.clusters.members import Members
from collectionstore_testkit.clusters.node_status import Nodes
from collectionstore_testkit.histories.checker import Linearizable, check
from collectionstore_testkit.histories.operations import Answer, Guard, Operation, Seen, Step

REPLICAS: Final = 3
WORKERS: Final = 16
DEADLINE_S: Final = 30.0
KEYS: Final = 4
KEYS_LIVE: Final = 300
"""Operations after which all use other keys: a check costs more than in proportion to the operations of a key."""
PAUSE_S: Final = (2.0, 5.0)
"""Between two faults, from when all members are there."""
CUT_S: Final = 2.0
FINISH_S: Final = 300.0
LOOK_S: Final = 0.1


class Broken(AssertionError):
    """The client or the store has broken a promise; the text says which."""


class Result(NamedTuple):
    """What a run has shown."""

    operations: int
    faults: Counter[str]
    seconds: float
    median_s: float
    worst_s: float
    worst_gap_s: float
    """The longest time in which no call of any worker ended: the failover as the client sees it."""
    told: int


@dataclass
class Load:
    """All workers of one client."""

    client: AsyncClient
    operations_max: int
    chance: random.Random
    history: list[Operation] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    ended: list[float] = field(default_factory=list)
    counted: Counter[str] = field(default_factory=Counter)
    """Acknowledged increments by counter."""
    inserted: dict[str, int] = field(default_factory=dict)
    """Revision by ID."""
    failures: list[str] = field(default_factory=list)
    begun: int = 0

    async def work(self, name: str) -> None:
        """Make calls until there are enough of all workers together."""
        chance = random.Random(self.chance.random())
        known: dict[str, int] = {}
        while self.begun < self.operations_max:
            self.begun += 1
            number = self.begun
            began = time.monotonic()
            try:
                await self._one(name, number, chance, known, began)
            except CollectionStoreError as error:
                self.failures.append(f"{type(error).__name__} ({error.outcome}): {error}")
            now = time.monotonic()
            self.latencies.append(now - began)
            self.ended.append(now)

    async def _one(self, name: str, number: int, chance: random.Random, known: dict[str, int], began: float) -> None:
        key = f"k{number // KEYS_LIVE}-{chance.randrange(KEYS)}"
        kind = chance.choices(("get", "put", "compare", "count", "insert"), (4, 3, 2, 2, 2))[0]
        if kind == "count":
            await self.client["counters"].update(name, {"$inc": {"n": 1}}, upsert=True)
            self.counted[name] += 1
        elif kind == "insert":
            made = await self.client["log"].insert_one({"worker": name, "number": number})
            self.inserted[made.inserted_id] = made.revision
        elif kind == "get":
            found = await self.client["keys"].get(key)
            known[key] = 0 if found is None else found.revision
            value = None if found is None else str(found.document["value"])
            seen = Seen(existed=found is not None, value=value, revision=None if found is None else found.revision)
            self._record(name, (Step("get", key),), began, Answer(succeeded=True, revision=None, seen=(seen,)))
        else:
            value = f"{name}.{number}"
            steps = (Step("put", key, value),)
            guards: tuple[Guard, ...] = ()
            if kind == "compare" and (revision := known.get(key)) is not None:
                guards = (Guard(key, "revision", revision),)
            try:
                if not guards:
                    made_at = await self.client["keys"].put(key, {"value": value})
                elif guards[0].operand == 0:
                    made_at = await self.client["keys"].put(key, {"value": value}, if_exists=False)
                else:
                    made_at = await self.client["keys"].put(key, {"value": value}, if_revision=int(guards[0].operand))
            except PreconditionFailed as refused:
                answer = Answer(succeeded=False, revision=None, current=refused.current_revision)
                self._record(name, steps, began, answer, guards)
                return
            known[key] = made_at.revision
            answer = Answer(succeeded=True, revision=made_at.revision, seen=(Seen(existed=not made_at.created),))
            self._record(name, steps, began, answer, guards)

    def _record(
        self, name: str, steps: tuple[Step, ...], began: float, answer: Answer, guards: tuple[Guard, ...] = ()
    ) -> None:
        number = len(self.history) + 1
        operation = Operation(number, name, steps, began, time.monotonic(), "ok", guards, (), answer)
        self.history.append(operation)


async def client_load(*, operations: int, base_port: int, seed: int, name: str = "client-load") -> Result:
    """Run it. Raises `Broken`, and `ClusterFailed` if the cluster cannot be used."""
    chance = random.Random(seed)
    async with (
        local_cluster(
            replicas=REPLICAS, base_port=base_port, spec={"snapshot": {"commands": 5_000}}, name=name
        ) as cluster,
        AsyncClient(",".join(cluster.urls(REPLICAS)).replace(",http://", ","), timeout=DEADLINE_S) as client,
    ):
        for collection in ("keys", "counters", "log"):
            await client.create_collection(collection)
        load = Load(client, operations, chance)
        told: list[tuple[int, str]] = []
        began = time.monotonic()
        async with client["log"].watch(operations=["insert"]) as watch:
            following = asyncio.create_task(_follow(watch, told))
            faults: Counter[str] = Counter()
            breaking = asyncio.create_task(_break(cluster, chance, faults))
            async with asyncio.TaskGroup() as group:
                for number in range(WORKERS):
                    group.create_task(load.work(f"w{number}"))
            seconds = time.monotonic() - began
            breaking.cancel()
            await asyncio.gather(breaking, return_exceptions=True)
            await cluster.csctl("heal", timeout_s=60)
            async with asyncio.timeout(FINISH_S):
                while len(told) < len(load.inserted) and not following.done():  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(LOOK_S)
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        await _compare(client, load, told)
    gaps = [later - earlier for earlier, later in zip(sorted(load.ended), sorted(load.ended)[1:], strict=False)]
    return Result(
        len(load.latencies),
        faults,
        seconds,
        statistics.median(load.latencies),
        max(load.latencies),
        max(gaps, default=0.0),
        len(told),
    )


async def _follow(watch: object, told: list[tuple[int, str]]) -> None:
    async for event in watch:  # type: ignore[attr-defined]
        told.append((event.revision, event.id))


async def _break(cluster: LocalCluster, chance: random.Random, faults: Counter[str]) -> None:
    """Kill or pause the leader, restart members one after the other, or cut one off, again and again."""
    members, urls = Members(cluster), cluster.urls(REPLICAS)
    async with aiohttp.ClientSession() as session:
        nodes = Nodes(session)
        while True:
            await asyncio.sleep(chance.uniform(*PAUSE_S))
            await _all_there(nodes, urls)
            _, leader = await nodes.leader(urls, timeout_s=60)
            kind = chance.choice(("kill", "kill", "restart", "cut", "pause"))
            faults[kind] += 1
            if kind == "kill":
                members.send_signal(leader.name, signal.SIGKILL)
            elif kind == "restart":
                for ordinal in range(REPLICAS):
                    members.send_signal(cluster.member(ordinal), signal.SIGTERM)
                    await asyncio.sleep(LOOK_S)
                    await _all_there(nodes, urls)
            elif kind == "pause":
                members.send_signal(leader.name, signal.SIGSTOP)
                await asyncio.sleep(CUT_S)
                members.resume(leader.name)
            else:
                name = chance.choice([leader.name, cluster.member(chance.randrange(REPLICAS))])
                await cluster.csctl("partition", name, timeout_s=60)
                await asyncio.sleep(CUT_S)
                await cluster.csctl("heal", timeout_s=60)


async def _all_there(nodes: Nodes, urls: Sequence[str]) -> None:
    while len(await nodes.statuses(urls)) < len(urls):  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(LOOK_S)


async def _compare(client: AsyncClient, load: Load, told: list[tuple[int, str]]) -> None:
    if load.failures:
        raise Broken(f"{len(load.failures)} calls failed, the first: {load.failures[0]}")
    counters = {one["_id"]: one["n"] async for one in client["counters"].find()}
    if counters != dict(load.counted):
        wrong = {one for one in counters.keys() | load.counted.keys() if counters.get(one) != load.counted.get(one)}
        raise Broken(f"increments were lost or done twice: {', '.join(sorted(wrong))}")
    stored = {one.id: one.revision async for one in client["log"].find(batch_size=1_000).found()}
    if stored != load.inserted:
        raise Broken(f"{len(stored)} documents are stored and {len(load.inserted)} inserts were acknowledged")
    expected = sorted((revision, document_id) for document_id, revision in load.inserted.items())
    if told != expected:
        raise Broken(f"the watch told {len(told)} changes, and {len(expected)} were made, or in another order")
    verdict = check(load.history)
    if verdict.linearizable is not Linearizable.YES:
        raise Broken(f"the history is {verdict.linearizable.value}: {verdict.explanation}")


def shown(result: Result) -> str:
    """Return a result as text."""
    faults = ", ".join(f"{count} x {kind}" for kind, count in sorted(result.faults.items())) or "none"
    return (
        f"{result.operations} operations in {result.seconds:.0f} s over these faults: {faults}. No call failed, "
        "nothing was lost or done twice, the history is linearizable, and the watch told "
        f"{result.told} inserts once and in order. A call took {result.median_s * 1e3:.1f} ms in the median and "
        f"{result.worst_s:.2f} s at worst; the longest time without any answer was {result.worst_gap_s:.2f} s.\n"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="collectionstore_testkit.client_load", description=__doc__)
    parser.add_argument("--operations", type=int, default=100_000)
    parser.add_argument("--base-port", type=int, default=24_400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    result = asyncio.run(client_load(operations=options.operations, base_port=options.base_port, seed=options.seed))
    sys.stdout.write(shown(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
