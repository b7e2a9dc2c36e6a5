"""What befalls a world: kinds of faults, when and how long, and the budget that keeps promises possible to keep.

Swarm testing: a seed turns a random part of the kinds off. The budget:
- at most one disk is lost or rotten at a time, only while the membership is as wanted and at least three vote, and no
  other until the operator has replaced that member; what was acknowledged is then on a majority of intact disks;
- everything else (processes, links, power, clocks, slow and failing disks) may befall all members at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, TypeAlias

from collectionstore_node.tests.simulation.admin import Admin
from collectionstore_node.tests.simulation.events import Trace
from collectionstore_node.tests.simulation.hosts import Cluster, Host
from collectionstore_node.tests.simulation.loop import SimulatedLoop
from collectionstore_node.tests.simulation.network import Network

Fault: TypeAlias = Callable[["Chaos"], Awaitable[None]]

KIND_SHARES: Final = (0.15, 0.5, 0.5, 0.9)
"""Share of the kinds that a seed uses: some see much of a few, some a little of all."""
VOTERS_MAX: Final = 5
CLIENTS: Final = "clients"


class Chaos:
    """Injects faults, one after the other; each runs on its own. `heal` ends all of them."""

    def __init__(
        self, cluster: Cluster, admin: Admin, others: tuple[str, ...], random: Random, gap_s: tuple[float, float]
    ) -> None:
        """`others` are hosts without members, such as clients'; `gap_s` bounds the pause between two faults."""
        self.cluster = cluster
        self.admin = admin
        self.random = random
        self.injected: Counter[str] = Counter()
        self._others = others
        self._gap_s = gap_s
        self._running: asyncio.Task[None] | None = None
        self._under_way: dict[asyncio.Task[None], None] = {}
        share = random.choice(KIND_SHARES)
        self.kinds = [kind for kind in sorted(FAULTS) if random.random() < share] or ["kill"]

    @property
    def loop(self) -> SimulatedLoop:
        """The loop of the world."""
        return self.cluster.loop

    @property
    def network(self) -> Network:
        """The network of the world."""
        return self.cluster.network

    @property
    def trace(self) -> Trace:
        """What happened so far."""
        return self.cluster.trace

    def start(self) -> None:
        """Begin to inject faults."""
        self._running = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Inject no more; what is under way stays as it is."""
        tasks = [*self._under_way, *([] if self._running is None else [self._running])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.random.uniform(*self._gap_s))
            kind = self.random.choice(self.kinds)
            task = asyncio.create_task(self._inject(kind))
            self._under_way[task] = None
            task.add_done_callback(self._under_way.pop)

    async def heal(self) -> None:
        """Inject no more, take every fault back, and let every member run."""
        await self.stop()
        self.network.heal()
        for host in self.cluster.hosts:
            host.resume()
            mend(host)
        self.supervise()

    def supervise(self) -> None:
        """Start every member that is down: one that was asked to stop, or met a fault, ends a while later."""
        for host in self.cluster.hosts:
            restart(host)

    async def _inject(self, kind: str) -> None:
        self.injected[kind] += 1
        try:
            await FAULTS[kind](self)
        except Skipped:
            self.injected[kind] -= 1

    # What faults are made of

    def any_up(self) -> Host:
        """Return a host whose member runs. Raises `Skipped`."""
        return self.pick([host for host in self.cluster.hosts if host.up])

    def pick(self, hosts: list[Host]) -> Host:
        """Return one of `hosts`; often the leader's, which is where faults hurt. Raises `Skipped`."""
        if not hosts:
            raise Skipped
        leaders = [host for host in hosts if leads(host)]
        if leaders and self.random.random() < 0.4:
            return self.random.choice(leaders)
        return self.random.choice(hosts)

    def addresses(self) -> list[str]:
        """Return all hosts' addresses, members' and others'."""
        return [host.address for host in self.cluster.hosts] + list(self._others)

    async def wait(self, lo_s: float, hi_s: float) -> None:
        """Let a fault last."""
        await asyncio.sleep(self.random.uniform(lo_s, hi_s))


class Skipped(Exception):
    """The fault cannot happen now."""


def leads(host: Host) -> bool:
    """Whether a host's member leads, as far as it knows."""
    member = host.run.member if host.up and host.run is not None else None
    return member is not None and member.replica.is_leader


def mend(host: Host) -> None:
    """Make a host's disk and clock behave."""
    host.disk.mend()
    host.disk_hung_until = 0.0
    host.slow_disk = 1.0


def restart(host: Host) -> None:
    """Start a member, on an empty disk if it refuses what is on its own."""
    if host.up:
        return
    if host.refused is not None:
        host.lose_disk()
    mend(host)
    host.start()


# Processes


async def kill(chaos: Chaos) -> None:
    """SIGKILL, and a new process after a while."""
    host = chaos.any_up()
    host.kill()
    await chaos.wait(0.0, 1.5)
    restart(host)


async def power(chaos: Chaos) -> None:
    """One host loses power, or several at once."""
    hosts = [host for host in chaos.cluster.hosts if host.up]
    several = chaos.random.random() < 0.25
    chosen = hosts if several else [chaos.any_up()]
    for host in chosen:
        host.lose_power()
    await chaos.wait(0.0, 2.0)
    for host in chosen:
        restart(host)


async def rolling(chaos: Chaos) -> None:
    """A member is stopped in order, and started again."""
    host = chaos.any_up()
    host.stop()
    for _ in range(40):
        await asyncio.sleep(0.1)
        if not host.up:
            break
    restart(host)


async def pause(chaos: Chaos) -> None:
    """A process handles nothing for a while, then everything at once."""
    host = chaos.any_up()
    process = host.process
    host.pause()
    await chaos.wait(0.05, 3.0)
    if host.process is process:
        host.resume()


async def stalls(chaos: Chaos) -> None:
    """A process is held up again and again for some milliseconds, as by a garbage collector."""
    host = chaos.any_up()
    for _ in range(20):
        if host.process is not None:
            chaos.loop.stall(host.process, chaos.random.uniform(0.001, 0.1))
        await chaos.wait(0.01, 0.1)


# Links


async def split(chaos: Chaos) -> None:
    """Two sides that do not hear each other, clients on either."""
    sides = [chaos.random.random() < 0.5 for _ in chaos.addresses()]
    pairs = [
        (one, other)
        for one, left in zip(chaos.addresses(), sides, strict=True)
        for other, also_left in zip(chaos.addresses(), sides, strict=True)
        if left != also_left
    ]
    await _cut(chaos, pairs, "split")


async def isolate(chaos: Chaos) -> None:
    """One member receives nothing, or its messages reach no other member, or both."""
    host = chaos.any_up()
    way = chaos.random.choice(("in", "out", "both"))
    others = [other.address for other in chaos.cluster.hosts if other is not host]
    pairs = [(other, host.address) for other in others if way != "out"]
    pairs += [(host.address, other) for other in others if way != "in"]
    await _cut(chaos, pairs, f"isolation of {host.name}, {way}")


async def bridge(chaos: Chaos) -> None:
    """Single directed links between members are cut at random: bridges, rings and worse."""
    members = [host.address for host in chaos.cluster.hosts]
    pairs = [(one, other) for one in members for other in members if one != other and chaos.random.random() < 0.35]
    await _cut(chaos, pairs, "holes")


async def slow_links(chaos: Chaos) -> None:
    """Some links are slow, narrow or lossy."""
    links = [
        chaos.network.link(one, other)
        for one in chaos.addresses()
        for other in chaos.addresses()
        if one != other and chaos.random.random() < 0.4
    ]
    chaos.trace.tell("network", f"{len(links)} slow links")
    before = [link.latency_s for link in links]
    for link in links:
        link.latency_s = (0.0, chaos.random.uniform(0.01, 0.4))
        link.bytes_per_s = chaos.random.choice((float("inf"), 20_000.0))
        link.loss = chaos.random.choice((0.0, 0.2))
    await chaos.wait(0.5, 3.0)
    for link, latency_s in zip(links, before, strict=True):
        link.latency_s, link.bytes_per_s, link.loss = latency_s, float("inf"), 0.0


async def resets(chaos: Chaos) -> None:
    """Connections break, as by a middlebox, a flipped bit that TLS noticed, or half only."""
    streams = chaos.network.streams()
    for _ in range(min(len(streams), chaos.random.randint(1, 6))):
        chaos.network.break_connection(chaos.random.choice(streams), both=chaos.random.random() < 0.7)
    chaos.trace.tell("network", "breaks connections")


# Disks and clocks


async def slow_disk(chaos: Chaos) -> None:
    """Every job of a disk takes much longer."""
    host = chaos.any_up()
    chaos.trace.tell(host.name, "has a slow disk")
    host.slow_disk = chaos.random.choice((30.0, 300.0))
    await chaos.wait(0.2, 2.0)
    host.slow_disk = 1.0


async def hung_disk(chaos: Chaos) -> None:
    """Jobs of a disk do not end for a while."""
    host = chaos.any_up()
    seconds = chaos.random.uniform(0.2, 3.0)
    chaos.trace.tell(host.name, f"has a disk that hangs for {seconds:.2f} s")
    host.disk_hung_until = chaos.loop.now + seconds


async def failing_disk(chaos: Chaos) -> None:
    """A sync reports an error; the member exits, and starts again on a disk that works."""
    host = chaos.any_up()
    chaos.trace.tell(host.name, "has a failing disk")
    host.disk.rocks.faults.fail_sync = True
    await chaos.wait(0.5, 2.0)
    restart(host)
    mend(host)


async def full_disk(chaos: Chaos) -> None:
    """Nothing can be written; the member exits, and starts again when there is room."""
    host = chaos.any_up()
    chaos.trace.tell(host.name, "has a full disk")
    host.disk.rocks.faults.full = True
    await chaos.wait(0.5, 2.0)
    restart(host)
    mend(host)


async def short_disk(chaos: Chaos) -> None:
    """Other files fill a disk, but for its reserve: the cluster takes no more data, and nobody exits."""
    host = chaos.any_up()
    left = chaos.random.choice((0, 0, 4 << 10, 60 << 10))
    chaos.trace.tell(host.name, f"has {left} bytes left on its disk")
    faults = host.disk.rocks.faults
    faults.available_bytes = left
    if chaos.random.random() < 0.3:
        # A start on a full disk.
        host.kill()
        await chaos.wait(0.0, 0.5)
        if not host.up and host.refused is None:
            host.start()
    await chaos.wait(1.0, 4.0)
    faults.available_bytes = None


async def lost_disk(chaos: Chaos) -> None:
    """A disk is gone: the member comes back as another incarnation, and the operator replaces it."""
    host = _damageable(chaos)
    host.lose_disk()
    await chaos.wait(0.0, 1.0)
    restart(host)


async def bit_rot(chaos: Chaos) -> None:
    """A bit flips at rest: the member must refuse to start, and is replaced."""
    host = _damageable(chaos)
    host.kill()
    if chaos.random.random() < 0.2:
        host.disk.rot_tail_marker()
    elif not host.disk.rot_log(chaos.random):
        restart(host)
        raise Skipped
    chaos.trace.tell(host.name, "has a bit flipped on its disk")
    host.start()
    await asyncio.sleep(0.2)
    if host.up and host.disk.rotten:
        chaos.cluster.failed(AssertionError(f"{host.name} did not detect that its disk is corrupt"))
    await chaos.wait(0.0, 1.0)
    restart(host)


async def wall_clock(chaos: Chaos) -> None:
    """The time of day of a host jumps, forward or back, also by more than idempotency keys are kept for."""
    host = chaos.pick(chaos.cluster.hosts)
    most_ms = chaos.random.choice((1, 25)) * 3_600_000
    host.wall_offset_ms += chaos.random.choice((-1, 1)) * chaos.random.randrange(most_ms // 2, most_ms)
    chaos.trace.tell(host.name, f"shows a time that is {host.wall_offset_ms} ms off")


# The operator


async def transfer(chaos: Chaos) -> None:
    """An administrator requests a leadership transfer."""
    chaos.admin.transfer_wanted = True


async def scale(chaos: Chaos) -> None:
    """Members are added or removed."""
    if not chaos.admin.settled or chaos.admin.repairing:
        raise Skipped
    expected = chaos.admin.expected
    spare = [host for host in chaos.cluster.hosts if host not in expected]
    if spare and (len(expected) < 3 or chaos.random.random() < 0.5):
        count = min(len(spare), VOTERS_MAX - len(expected), chaos.random.choice((1, 2)))
        for host in spare[:count]:
            # Who left never returns: a new member needs an empty disk.
            host.lose_disk()
            restart(host)
        chaos.admin.want(expected + spare[:count])
    elif len(expected) > 3:  # three keep the budget of lost disks
        gone = chaos.random.choice(expected)
        chaos.admin.want([host for host in expected if host is not gone])
    else:
        raise Skipped


def _damageable(chaos: Chaos) -> Host:
    """Return a host whose disk may be lost. Raises `Skipped` when that would break more than was promised."""
    admin = chaos.admin
    if not admin.settled or admin.repairing or len(admin.expected) < 3:
        raise Skipped
    host = chaos.pick([host for host in admin.expected if host.up and not host.disk.faulty])
    admin.repair(host)
    return host


async def _cut(chaos: Chaos, pairs: list[tuple[str, str]], what: str) -> None:
    chaos.trace.tell("network", what)
    for pair in pairs:
        chaos.network.block(*pair)
    await chaos.wait(0.2, 3.5)
    for pair in pairs:
        chaos.network.unblock(*pair)


FAULTS: Final[dict[str, Fault]] = {
    fault.__name__: fault
    for fault in (
        kill,
        power,
        rolling,
        pause,
        stalls,
        split,
        isolate,
        bridge,
        slow_links,
        resets,
        slow_disk,
        hung_disk,
        failing_disk,
        full_disk,
        short_disk,
        lost_disk,
        bit_rot,
        wall_clock,
        transfer,
        scale,
    )
}
