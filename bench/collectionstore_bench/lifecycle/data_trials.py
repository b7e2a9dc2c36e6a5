"""The trials of lifecycle.py that are about data: snapshots, restarts, and what compaction gives back.

As those of trials.py they leave the cluster whole.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import aiohttp

from collectionstore_bench.lifecycle.node_logs import log_events
from collectionstore_bench.lifecycle.node_metrics import lag_buckets, worst_lag_s
from collectionstore_bench.lifecycle.trials import DOCUMENT_BYTES, Finding, Lab, load_documents, stopped, until
from collectionstore_bench.load.http_load import Target, encode_request, send_each_once
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import send_signal
from collectionstore_testkit.clusters.node_status import Nodes, Status

READY_S_MAX = 2.0
EXPORTED_S_MAX = 1.0
INSTALLED_S_MAX = 2.0
LOOP_LAG_MS_MAX = 50.0
LOG_KEPT_PERCENT_MAX = 10.0

LOG_COMMANDS = 100_000
LOG_KEYS = 1_000
"""Few, so that what the commands leave behind is small beside the log of them."""
LATE_COMMANDS = 3_000
"""Enough for two generations of the least that spec.snapshot allows, so that the log is cut."""
READY_POLL_S = 0.01
RESTART_TIMEOUT_S = 60.0


async def measure_snapshot(lab: Lab) -> list[Finding]:
    """How long a snapshot takes to make and to install, and what it does to those who write meanwhile."""
    _, follower = await lab.follower()
    lab.say(f"SIGKILL to {follower.name}, whose restart is held back until the log no longer holds what it misses")
    async with stopped(lab.cluster.supervisor_pid()):
        send_signal(follower.pid, signal.SIGKILL)
        await load_documents(lab)
        await until(lambda: _log_is_past(lab, follower), 10.0, "the log is cut behind what the follower has")
        _, leader = await lab.leader()
        before, begun, on_the_wall = await _lag(lab, leader), time.monotonic(), time.time()
    async with lab.writers.writing():
        await lab.whole()
        pause = lab.writers.longest_pause_s(begun, time.monotonic())
        worst = worst_lag_s(before, await _lag(lab, leader))
    exported = log_events(lab.cluster, "snapshot.exported", on_the_wall)
    installed = log_events(lab.cluster, "snapshot.installed", on_the_wall)
    if not exported or not installed:
        raise ClusterFailed("the follower came back without a snapshot, so there is nothing to measure")
    note = f"{lab.documents} documents of {DOCUMENT_BYTES} B, {exported[0]['bytes'] / 1e6:.1f} MB"
    return [
        Finding("snapshot made", max(one["seconds"] for one in exported), "s", EXPORTED_S_MAX, note),
        Finding("snapshot made, leader's event loop late", 1000 * worst, "ms", LOOP_LAG_MS_MAX, "at most; worst tick"),
        Finding("snapshot made, longest pause of writes", pause, "s"),
        Finding("snapshot installed", max(one["seconds"] for one in installed), "s", INSTALLED_S_MAX, note),
    ]


async def _log_is_past(lab: Lab, follower: Status) -> bool:
    _, leader = await lab.leader()
    return leader.first_index > follower.last_index + 1


async def _lag(lab: Lab, status: Status) -> dict[float, float]:
    return await lag_buckets(lab.nodes.session, status.metrics_address)


async def measure_restart(lab: Lab) -> list[Finding]:
    """How long a killed node needs until it serves linearizable reads again, with a long log to verify."""
    await _write_commands(lab, LOG_COMMANDS)
    await lab.whole()
    return await _restart(lab, "with its log of 100,000 commands")


async def measure_compaction(lab: Lab) -> list[Finding]:
    """How much space the compaction of a long log reclaims, and how long a restart takes afterwards."""
    _, leader = await lab.leader()
    if leader.revision < LOG_COMMANDS:  # the trial `restart` has made a long log already, if it was asked for
        await _write_commands(lab, LOG_COMMANDS)
        await lab.whole()
    lab.say("lowering spec.snapshot.commands, which restarts the members one after the other")
    await lab.cluster.apply({"snapshot": {"commands": 1_000}})
    await lab.whole()
    before = await _data_bytes(lab)
    await _write_commands(lab, LATE_COMMANDS)

    async def reclaimed() -> bool:
        after = await _data_bytes(lab)
        return all(100 * after[url] <= LOG_KEPT_PERCENT_MAX * before[url] for url in before)

    try:
        await until(reclaimed, 30.0, "the space is given back")
    except ClusterFailed as error:
        lab.say(str(error))
    after = await _data_bytes(lab)
    kept = {url: 100 * after[url] / before[url] for url in before}
    worst = max(kept, key=lambda url: kept[url])
    sizes = f"{before[worst] / 1e6:.1f} MB before, {after[worst] / 1e6:.1f} MB after, state included"
    note = f"worst of {len(kept)} members, {sizes}"
    compacted = Finding("log compacted, its space that is left", kept[worst], "%", LOG_KEPT_PERCENT_MAX, note)
    return [compacted, *await _restart(lab, "with 100,000 commands applied, log compacted")]


async def _data_bytes(lab: Lab) -> dict[str, int]:
    return {url: status.data_bytes for url, status in (await lab.nodes.statuses(lab.urls)).items()}


async def _write_commands(lab: Lab, count: int) -> None:
    """Overwrite the same few documents, so that the log grows and the state does not."""
    lab.say(f"writing {count} commands over {LOG_KEYS} documents of {DOCUMENT_BYTES} B")
    url, _ = await lab.leader()
    async with lab.nodes.session.put(f"{url}/api/v1/collections/overwritten") as response:
        response.raise_for_status()
    target = Target.parse(url)
    headers = {"Content-Type": "application/json"}
    requests = []
    for number in range(count):
        # Text that does not compress much, as little of it as documents have.
        text = os.urandom((DOCUMENT_BYTES - 30) // 2).hex()
        path = f"/api/v1/collections/overwritten/documents/{number % LOG_KEYS:06d}"
        requests.append(encode_request("PUT", target, path, f'{{"number":{number},"text":"{text}"}}'.encode(), headers))
    await send_each_once([target], {target: requests}, connections=32, timeout_s=600.0)


async def _restart(lab: Lab, what: str) -> list[Finding]:
    url, follower = await lab.follower()
    lab.say(f"SIGKILL to {follower.name}")
    killed_at = time.monotonic()
    send_signal(follower.pid, signal.SIGKILL)
    pid, ready_at = await ready_again(lab.nodes, url, follower)
    started_at, processor_s = process_life(pid)
    took = ready_at - started_at
    await lab.whole()
    note = f"{follower.revision} commands applied; {processor_s:.1f} s of processor time"
    return [
        Finding(f"restart {what}, process start to ready", took, "s", READY_S_MAX, note),
        Finding(f"restart {what}, SIGKILL to ready", ready_at - killed_at, "s", note="waits for the supervisor too"),
    ]


async def ready_again(nodes: Nodes, url: str, before: Status) -> tuple[int, float]:
    """Wait until another process answers at `url` that it is ready; return its pid and when, by time.monotonic()."""
    deadline = time.monotonic() + RESTART_TIMEOUT_S
    probe = f"http://{before.metrics_address}/readyz"
    while time.monotonic() < deadline:
        try:
            async with asyncio.timeout(5.0), nodes.session.get(probe) as response:
                ready, ready_at = response.status == 200, time.monotonic()
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            ready, ready_at = False, 0.0
        if ready:
            status = await nodes.status(url)
            if status is not None and status.pid != before.pid:
                return status.pid, ready_at
        await asyncio.sleep(READY_POLL_S)
    raise ClusterFailed(f"{before.name} was not ready within {RESTART_TIMEOUT_S:g} s")


def process_life(pid: int) -> tuple[float, float]:
    """Return when a process started, by time.monotonic(), and its seconds of processor time; both to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    user, system, since_boot = (int(fields[place]) / os.sysconf("SC_CLK_TCK") for place in (11, 12, 19))
    return since_boot - (time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()), user + system
