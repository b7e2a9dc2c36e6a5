"""Watches of a local cluster while its leaders are killed: every acknowledged change once, in order, and no other.

`python -m collectionstore_testkit.watched_load --changes 100000` starts a cluster, writes that many changes, kills the
leader again and again, and follows the changes by several clients that hang up in the middle and go on with another
member from their last token. At the end each must have been told exactly what was acknowledged.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import aiohttp
import orjson

from collectionstore_testkit.clusters.local import local_cluster
from collectionstore_testkit.clusters.members import Members
from collectionstore_testkit.clusters.node_status import Nodes

COLLECTION: Final = "watched"
WRITERS: Final = 8
FORMS: Final = ("lines", "sse", "page")
SSE: Final = "text/event-stream"
RETRY_S: Final = 0.1
REQUEST_S: Final = 10.0
KILL_S: Final = (3.0, 8.0)
"""Between two kills of a leader, at least and at most."""
FINISH_S: Final = 300.0
ENDS: Final = frozenset(("gone", "slow", "invalidate", "moved", "failed"))


class Seen(NamedTuple):
    """A change, as it was acknowledged or told."""

    revision: int
    position: int
    op: str
    id: str


class Broken(AssertionError):
    """A watch has told what it must not; the text says what."""


@dataclass
class Writer:
    """One client that writes documents of its own, one command after the other, until each is acknowledged."""

    number: int
    random: random.Random
    acknowledged: list[Seen] = field(default_factory=list)
    live: set[str] = field(default_factory=set)

    async def write(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> int:
        """Make one command and return how many changes it has."""
        names = [f"{self.number}-{self.random.randrange(200)}" for _ in range(self.random.choice((1, 1, 1, 2, 5)))]
        steps = [self._step(name) for name in dict.fromkeys(names)]
        # The same key in every attempt: however often it is sent, it is one command.
        key = f"{self.number}-{self.random.getrandbits(64):x}"
        body = orjson.dumps({"then": [step for step, _ in steps]})
        for attempt in itertools.count():
            url = urls[(self.number + attempt) % len(urls)]
            try:
                async with session.post(
                    f"{url}/api/v1/transactions",
                    data=body,
                    headers={"Content-Type": "application/json", "Idempotency-Key": key},
                    timeout=aiohttp.ClientTimeout(REQUEST_S),
                ) as response:
                    content = await response.read()
                    if response.status == 200:
                        revision = orjson.loads(content)["revision"]
                        break
                    if response.status < 500:
                        raise Broken(f"a write was answered {response.status}: {content[:200]!r}")
            except (aiohttp.ClientError, OSError, TimeoutError):
                pass  # its outcome is unknown: the same again says
            await asyncio.sleep(RETRY_S)
        for position, (step, op) in enumerate(steps):
            self.acknowledged.append(Seen(revision, position, op, step["id"]))
            (self.live.discard if op == "delete" else self.live.add)(step["id"])
        return len(steps)

    def _step(self, name: str) -> tuple[dict[str, Any], str]:
        if name in self.live and self.random.random() < 0.3:
            return {"op": "delete", "collection": COLLECTION, "id": name}, "delete"
        document = {"n": self.random.randrange(1 << 30), "text": "x" * self.random.randrange(200)}
        op = "replace" if name in self.live else "insert"
        return {"op": "put", "collection": COLLECTION, "id": name, "document": document}, op


@dataclass
class Follower:
    """One client that watches, hangs up now and then, and goes on elsewhere from its last token."""

    number: int
    random: random.Random
    token: str
    told: list[Seen] = field(default_factory=list)
    connections: int = 0
    ends: Counter[str] = field(default_factory=Counter)

    @property
    def revision(self) -> int:
        """The last one that it was told of, 0 before the first."""
        return self.told[-1].revision if self.told else 0

    async def follow(self, session: aiohttp.ClientSession, urls: Sequence[str]) -> None:
        """Follow until it is cancelled. Raises `Broken`."""
        for turn in itertools.count(self.number):
            self.connections += 1
            form = FORMS[turn % len(FORMS)]
            try:
                await self._once(session, urls[turn % len(urls)], form, self.random.randrange(1, 2_000))
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(RETRY_S)  # the member was killed

    async def _once(self, session: aiohttp.ClientSession, url: str, form: str, events_max: int) -> None:
        target = f"{url}/api/v1/collections/{COLLECTION}:watch?from={self.token}"
        if form == "page":
            async with session.get(f"{target}&wait=1s", timeout=aiohttp.ClientTimeout(REQUEST_S)) as response:
                content = await response.read()
                self._check(response, content)
                if response.status == 200:
                    page = orjson.loads(content)
                    for one in page["events"]:
                        self._take(one)
                    self.token = page["token"]
                else:
                    await asyncio.sleep(RETRY_S)
            return
        headers = {"Accept": SSE} if form == "sse" else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_read=REQUEST_S)
        async with session.get(target, headers=headers, timeout=timeout) as response:
            if response.status != 200:
                self._check(response, await response.read())
                await asyncio.sleep(RETRY_S)
                return
            count = 0
            async for one in _events(response):
                self._take(one)
                count += 1
                # In the middle of a command as well: its token says how much of it was told.
                if count >= events_max or one["event"] in ENDS:
                    return

    def _check(self, response: aiohttp.ClientResponse, content: bytes) -> None:
        if response.status != 200 and response.status < 500:
            raise Broken(f"a watch was answered {response.status}: {content[:200]!r}")

    def _take(self, one: dict[str, Any]) -> None:
        kind = one["event"]
        if kind == "gone":
            raise Broken(f"the history is gone behind {self.token}: {one}")
        if kind in ENDS:
            self.ends[kind] += 1
        elif kind == "change" and one["op"] != "create_collection":
            seen = Seen(one["revision"], one["position"], one["op"], one["id"])
            if self.told and seen[:2] <= self.told[-1][:2]:
                raise Broken(f"{seen} was told behind {self.told[-1]}")
            self.told.append(seen)
        self.token = one["token"]


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[dict[str, Any]]:
    """Yield the events of a stream in either form."""
    async for line in response.content:
        if line.startswith(b"data: "):
            yield orjson.loads(line[6:])
        elif line.startswith(b"{"):
            yield orjson.loads(line)


class Result(NamedTuple):
    """What a run has shown."""

    changes: int
    commands: int
    kills: int
    connections: int
    seconds: float


async def watched_load(
    *, changes: int, followers: int, base_port: int, seed: int, kill_s: tuple[float, float] = KILL_S, replicas: int = 3
) -> Result:
    """Run it. Raises `Broken`, and `ClusterFailed` if the cluster cannot be used."""
    chance = random.Random(seed)
    spec = {"snapshot": {"commands": 2_000}}
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        local_cluster(replicas=replicas, base_port=base_port, spec=spec, name="watched") as cluster,
        aiohttp.ClientSession(connector=connector) as session,
    ):
        urls, members = cluster.urls(replicas), Members(cluster)
        begin = await _create(session, urls)
        writers = [Writer(number, random.Random(chance.random())) for number in range(WRITERS)]
        watching = [Follower(number, random.Random(chance.random()), begin) for number in range(followers)]
        started, written = time.monotonic(), 0
        nodes, killed = Nodes(session), 0

        async def write(writer: Writer) -> None:
            nonlocal written
            while written < changes:
                made = await writer.write(session, urls)
                written += made

        async def kill() -> None:
            nonlocal killed
            while True:
                await asyncio.sleep(chance.uniform(*kill_s))
                # Only with all members there: what waits for its restart must not take the quorum away.
                while len(await nodes.statuses(urls)) < replicas:  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(RETRY_S)
                _, leader = await nodes.leader(urls, timeout_s=60)
                members.send_signal(leader.name, signal.SIGKILL)
                killed += 1

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.follow(session, urls)) for one in watching]
            killing = group.create_task(kill())
            async with asyncio.TaskGroup() as writing:
                for writer in writers:
                    writing.create_task(write(writer))
            killing.cancel()
            last = max(one.revision for writer in writers for one in writer.acknowledged)
            async with asyncio.timeout(FINISH_S):
                while any(one.revision < last for one in watching):  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(RETRY_S)
            for task in tasks:
                task.cancel()
        expected = sorted(one for writer in writers for one in writer.acknowledged)
        for follower in watching:
            _compare(expected, follower)
        return Result(
            len(expected),
            len({one.revision for one in expected}),
            killed,
            sum(one.connections for one in watching),
            time.monotonic() - started,
        )


async def _create(session: aiohttp.ClientSession, urls: Sequence[str]) -> str:
    """Create the collection, and return the token behind that, once the cluster keeps a history."""
    async with asyncio.timeout(60):
        while True:
            async with session.put(f"{urls[0]}/api/v1/collections/{COLLECTION}") as response:
                if response.status in (200, 201):
                    break
            await asyncio.sleep(RETRY_S)
        while True:
            async with session.get(f"{urls[0]}/api/v1/collections/{COLLECTION}:watch?wait=0s") as response:
                content = await response.read()
            if response.status == 200:
                token: str = orjson.loads(content)["token"]
                return token
            if response.status < 500:
                raise Broken(f"a watch was answered {response.status}: {content[:200]!r}")
            await asyncio.sleep(RETRY_S)


def _compare(expected: Sequence[Seen], follower: Follower) -> None:
    told = follower.told
    for at, (wanted, seen) in enumerate(zip(expected, told, strict=False)):
        if wanted != seen:
            raise Broken(f"follower {follower.number} was told {seen} as its change {at}, not {wanted}")
    if len(told) != len(expected):
        raise Broken(f"follower {follower.number} was told {len(told)} changes, and {len(expected)} were acknowledged")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code."""
    parser = argparse.ArgumentParser(prog="collectionstore_testkit.watched_load", description=__doc__)
    parser.add_argument("--changes", type=int, default=100_000)
    parser.add_argument("--followers", type=int, default=4)
    parser.add_argument("--base-port", type=int, default=23_400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    result = asyncio.run(
        watched_load(
            changes=options.changes, followers=options.followers, base_port=options.base_port, seed=options.seed
        )
    )
    sys.stdout.write(
        f"{result.changes} changes of {result.commands} commands in {result.seconds:.0f} s: each of "
        f"{options.followers} watches was told all of them once and in order, over {result.kills} kills of the leader "
        f"and {result.connections} connections\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
