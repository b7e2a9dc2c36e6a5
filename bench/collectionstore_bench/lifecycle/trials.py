"""The trials of lifecycle.py: each does something to a running cluster and says what was found, against its bound.

They run one after the other on the same cluster and leave it whole: every member running and up to date.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from collectionstore_bench.lifecycle.acknowledged import Writers
from collectionstore_bench.load.http_load import Target, encode_request, send_each_once
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, send_signal
from collectionstore_testkit.clusters.node_status import Nodes, Status

DOCUMENT_BYTES = 1024
POLL_S = 0.05
WHOLE_TIMEOUT_S = 90.0
IDLE_S = 8.0
"""Long enough for the round trips of a busy start to leave the window of the median."""
OUTAGE_S = 8.0
BEFORE_KILL_S = 1.0

HANDSHAKE_MS_MAX = 100.0
ROUND_TRIP_MS_MAX = 0.3
DEAD_REPORTED_S_MAX = 10.0
CONVERGED_S_MAX = 5.0
JOINED_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured value; `bound` is the highest that is accepted, None for a value that is only reported."""

    what: str
    value: float
    unit: str
    bound: float | None = None
    note: str = ""

    @property
    def met(self) -> bool:
        return self.bound is None or self.value <= self.bound


@dataclass(slots=True)
class Lab:
    """The cluster under trial and what is known of it."""

    cluster: LocalCluster
    nodes: Nodes
    size: int
    writers: Writers
    documents: int
    kills: int
    switchovers: int
    profile: str
    """That of spec.raft."""
    say: Callable[[str], None]

    @property
    def urls(self) -> list[str]:
        return self.cluster.urls(self.size)

    async def leader(self) -> tuple[str, Status]:
        """Return URL and status of the leader."""
        return await self.nodes.leader(self.urls, timeout_s=30.0)

    async def follower(self) -> tuple[str, Status]:
        """Return URL and status of a voter that does not lead."""
        leader_url, _ = await self.leader()
        statuses = await self.nodes.statuses([url for url in self.urls if url != leader_url])
        return next(iter(statuses.items()))

    async def whole(self) -> None:
        """Wait until every member votes, answers the leader and has applied what was committed when we began."""

        async def is_whole() -> bool:
            _, leader = await self.leader()
            statuses = await self.nodes.statuses(self.urls)
            return (
                len(statuses) == self.size
                and len(leader.configuration.voters) == self.size
                and not leader.configuration.joint
                and all(member.active for member in leader.members)
                and all(status.applied_index >= target for status in statuses.values())
            )

        target = (await self.leader())[1].commit_index
        await until(is_whole, WHOLE_TIMEOUT_S, "every member votes and is up to date")


async def until(condition: Callable[[], Awaitable[bool]], timeout_s: float, what: str) -> float:
    """Wait for a condition and return how long that took, in seconds. Raises ClusterFailed with `what`."""
    started = time.monotonic()
    while not await condition():
        if time.monotonic() - started > timeout_s:
            raise ClusterFailed(f"timed out after {timeout_s:g} s waiting until {what}")
        await asyncio.sleep(POLL_S)
    return time.monotonic() - started


@asynccontextmanager
async def stopped(*pids: int) -> AsyncIterator[None]:
    """Hold processes with SIGSTOP for the time of the block."""
    try:
        for pid in pids:
            send_signal(pid, signal.SIGSTOP)
        yield
    finally:
        for pid in pids:
            send_signal(pid, signal.SIGCONT)


async def load_documents(lab: Lab) -> None:
    """Write the documents that a new member will have to copy."""
    url, _ = await lab.leader()
    async with lab.nodes.session.put(f"{url}/api/v1/collections/copied") as response:
        if response.status not in (200, 201):
            raise ClusterFailed(f"creating a collection was answered with {response.status}: {await response.text()}")
    target = Target.parse(url)
    headers = {"Content-Type": "application/json"}
    filling = "x" * (DOCUMENT_BYTES - len('{"number":00000000,"text":""}'))
    requests = [
        encode_request(
            "PUT",
            target,
            f"/api/v1/collections/copied/documents/{number:08d}",
            f'{{"number":{10_000_000 + number},"text":"{filling}"}}'.encode(),
            headers,
        )
        for number in range(lab.documents)
    ]
    await send_each_once([target], {target: requests}, connections=16, timeout_s=300.0)


async def measure_peers(lab: Lab) -> list[Finding]:
    """Handshake and round trip between members, on an idle cluster."""

    async def all_measured() -> bool:
        statuses = await lab.nodes.statuses(lab.urls)
        peers = [peer for status in statuses.values() for peer in status.peers]
        return len(peers) == lab.size * (lab.size - 1) and all(
            peer.connected and peer.handshake_ms is not None and peer.round_trip_p50_ms is not None for peer in peers
        )

    await until(all_measured, 30.0, "every member is connected to every other")
    await asyncio.sleep(IDLE_S)
    peers = [peer for status in (await lab.nodes.statuses(lab.urls)).values() for peer in status.peers]
    handshakes = [peer.handshake_ms for peer in peers if peer.handshake_ms is not None]
    round_trips = [peer.round_trip_p50_ms for peer in peers if peer.round_trip_p50_ms is not None]
    note = f"worst of {len(peers)} connections"
    return [
        Finding("peer TLS handshake", max(handshakes), "ms", HANDSHAKE_MS_MAX, note),
        Finding("peer round trip, p50, idle", max(round_trips), "ms", ROUND_TRIP_MS_MAX, note),
    ]


async def measure_dead_member(lab: Lab) -> list[Finding]:
    """How long until a member that died is reported as such."""
    _, follower = await lab.follower()
    lab.say(f"SIGKILL to {follower.name}, whose restart is held back")
    async with stopped(lab.cluster.supervisor_pid()):
        send_signal(follower.pid, signal.SIGKILL)
        killed = await until(lambda: _reported_dead(lab, follower.name), 30.0, f"{follower.name} is reported dead")
    await lab.whole()

    _, follower = await lab.follower()
    lab.say(f"SIGSTOP to {follower.name}, which hangs from now on")
    async with stopped(follower.pid):
        by_leader, by_csctl = await asyncio.gather(
            until(lambda: _reported_dead(lab, follower.name), 30.0, f"{follower.name} is reported dead"),
            until(lambda: _shown_unready(lab), 30.0, f"csctl shows that {follower.name} is not ready"),
        )
    await lab.whole()
    note = "in /status of the leader"
    return [
        Finding("killed member reported", killed, "s", DEAD_REPORTED_S_MAX, note),
        Finding("hanging member reported", by_leader, "s", DEAD_REPORTED_S_MAX, note),
        Finding("hanging member reported", by_csctl, "s", DEAD_REPORTED_S_MAX, "by csctl local status"),
    ]


async def _reported_dead(lab: Lab, name: str) -> bool:
    _, leader = await lab.leader()
    member = leader.member(name)
    return member is not None and member.active is False


async def _shown_unready(lab: Lab) -> bool:
    ready: int = (await lab.cluster.described())["status"]["readyMembers"]
    return ready < lab.size


async def measure_partition(lab: Lab) -> list[Finding]:
    """How long a member that was cut off needs to converge, with writers going on."""
    url, follower = await lab.follower()
    lab.say(
        f"{follower.name} is cut off for {OUTAGE_S:g} s under writers; SIGSTOP and SIGCONT stand in for a partition"
    )
    async with lab.writers.writing():
        async with stopped(follower.pid):
            await asyncio.sleep(OUTAGE_S)
            _, leader = await lab.leader()
        target = leader.commit_index

        async def converged() -> bool:
            status = await lab.nodes.status(url)
            return status is not None and status.applied_index >= target and status.leader is not None

        took = await until(converged, 60.0, f"{follower.name} has converged")
    await lab.whole()
    missed = target - follower.applied_index
    return [
        Finding(
            "healed member converged", took, "s", CONVERGED_S_MAX, f"SIGSTOP as a stand-in; it missed {missed} entries"
        )
    ]


async def measure_kill_of_all(lab: Lab) -> list[Finding]:
    """Whether every acknowledged write is there after all members were killed at once."""
    async with lab.writers.writing():
        await asyncio.sleep(2 * BEFORE_KILL_S)
        statuses = await lab.nodes.statuses(lab.urls)
        killed_at = time.monotonic()
        for status in statuses.values():
            send_signal(status.pid, signal.SIGKILL)
        resumed = await lab.writers.resumed(killed_at) - killed_at
        await lab.whole()
    verdict = await lab.writers.verify()
    note = f"{verdict.checked} read back"
    return [
        Finding("all killed, next acknowledged write", resumed, "s", note=f"{len(statuses)} members, SIGKILL"),
        Finding("all killed, acknowledged writes lost", verdict.missing + verdict.different, "", 0, note),
    ]


async def measure_join(lab: Lab) -> list[Finding]:
    """How long from the request for two more members until they vote, under writers."""
    _, leader = await lab.leader()
    kept = leader.last_index - leader.first_index + 1
    note = f"{lab.documents} documents of {DOCUMENT_BYTES} B to copy, "
    note += "by snapshot" if leader.first_index > 1 else f"from a log of {kept} entries, no snapshot needed"
    async with lab.writers.writing():
        took, joint, pause = await _scale(lab, 5)
    return [
        Finding("scaled 3 -> 5, new members vote", took, "s", JOINED_S_MAX, f"{note}; {joint}"),
        Finding("scaled 3 -> 5, longest pause of writes", pause, "s"),
    ]


async def measure_scale_down(lab: Lab) -> list[Finding]:
    """How long it takes to go back to three members and to one, under writers."""
    findings = []
    async with lab.writers.writing():
        for size in (3, 1):
            step = f"scaled {lab.size} -> {size}"
            took, joint, pause = await _scale(lab, size)
            findings.append(Finding(step, took, "s", note=joint))
            findings.append(Finding(f"{step}, longest pause of writes", pause, "s"))
    return findings


async def _scale(lab: Lab, size: int) -> tuple[float, str, float]:
    """Ask for another size and wait until it is reached.

    Returns the seconds that took, what joint configurations there were, and the longest pause of writes in seconds.
    """
    lab.say(f"scaling {lab.size} -> {size}")
    urls = lab.cluster.urls(max(lab.size, size))
    joint_before = _joint_configurations(lab.cluster)

    async def reached() -> bool:
        configurations = [status.configuration for status in (await lab.nodes.statuses(urls)).values() if status.leads]
        return any(len(one.voters) == size and not one.joint and not one.learners for one in configurations)

    started = time.monotonic()
    request = asyncio.create_task(lab.cluster.csctl("scale", "--replicas", str(size), timeout_s=WHOLE_TIMEOUT_S))
    try:
        took = await until(reached, WHOLE_TIMEOUT_S, f"{size} members vote")
        await request
    finally:
        request.cancel()
    lab.size = size
    await lab.whole()
    pause = lab.writers.longest_pause_s(started, time.monotonic())
    joint = len(_joint_configurations(lab.cluster) - joint_before)
    return took, f"{joint} joint configuration{'' if joint == 1 else 's'} on the way", pause


def _joint_configurations(cluster: LocalCluster) -> set[int]:
    """Return the log index of every joint configuration that any member has applied, from the members' logs.

    A joint configuration lasts for milliseconds: looking at /status would miss most of them.
    """
    found = set()
    for log in cluster.node_logs():
        for line in log.read_text().splitlines():
            if '"configuration.applied"' in line and (event := json.loads(line))["outgoing"]:
                found.add(event["index"])
    return found
