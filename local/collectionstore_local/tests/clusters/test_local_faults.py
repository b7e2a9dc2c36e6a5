"""Faults on a local cluster: csctl requests them, the proxy and signals inject them, `status` shows them.

None outlives its test.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.faults import link_faults
from collectionstore_local.faults.link_faults import DesiredFaults, LinkFault, Mode
from collectionstore_local.faults.proxy import FaultProxy
from collectionstore_local.processes.port_allocation import HOST
from collectionstore_local.processes.process import identify_process, is_paused
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory, read_json, write_json
from collectionstore_local.tests.clusters.test_local_cluster import Project, make_project, until

pytestmark = pytest.mark.xdist_group("local_faults")

DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A cluster of three fake nodes."""
    for project in make_project(tmp_path_factory.mktemp("faults")):
        project.up()
        yield project


@pytest.fixture
def running(started: Project) -> Iterator[Project]:
    """The same for every test, healed after each."""
    assert started.up()
    yield started
    started.csctl("heal")


def test_pause_holds_a_process_and_heal_lets_it_go_on(running: Project) -> None:
    """The same process before and after; `status` says so meanwhile."""
    pids = running.pids()
    assert "demo-1: paused" in running.csctl("pause", "1")
    assert is_paused(pids["demo-1"])
    assert "Faults in force: demo-1: paused. End them: csctl local heal" in running.csctl("status")
    assert running.status()["local"]["faults"] == ["demo-1: paused"]
    assert "ended: demo-1: paused" in running.csctl("heal")
    assert not is_paused(pids["demo-1"])
    assert running.pids() == pids
    assert "Faults in force" not in running.csctl("status")
    assert "demo has no faults" in running.csctl("heal")


def test_pause_for_a_time_ends_by_itself(running: Project) -> None:
    result = json.loads(running.csctl("pause", "demo-2", "--for", "10ms", "-o", "json"))
    assert result == {"member": "demo-2", "pausedSeconds": 0.01}
    assert not is_paused(running.pids()["demo-2"])


def test_kill_tells_what_it_did_as_json_too(running: Project) -> None:
    """CONT is harmless; KILL is tested elsewhere."""
    result = json.loads(running.csctl("kill", "0", "--signal", "CONT", "-o", "json"))
    assert result == {"member": "demo-0", "signal": "SIGCONT", "pid": running.pids()["demo-0"]}


def test_partition_stands_until_it_is_healed(running: Project) -> None:
    """Both faults are printed and shown; heal deletes the routes and stops the proxy."""
    node = running.directory.node("demo-1")
    assert "demo-0 ↔ all others: partitioned" in running.csctl("partition", "0")
    output = running.csctl("partition", "demo-1", "2", "--one-way", "--delay", "100ms", "-o", "json")
    links = json.loads(output)["links"]
    assert [(one["member"], one["peer"], one["mode"], one["one_way"]) for one in links] == [
        ("demo-0", "*", "drop", False),
        ("demo-1", "demo-2", "delay", True),
    ]
    assert "demo-1 → demo-2: delayed by 100 ms each way" in running.csctl("status")
    report = link_faults.read_report(running.directory)
    assert report is not None
    assert sorted(read_json(node.routes)) == ["demo-0", "demo-2"]
    assert "ended: demo-0 ↔ all others: partitioned" in running.csctl("heal")
    until(lambda: identify_process(report.process.pid) != report.process)
    assert not node.routes.exists()


def test_later_fault_on_the_same_link_replaces_the_earlier_one(running: Project) -> None:
    running.csctl("partition", "0", "1")
    output = running.csctl("partition", "1", "0", "--slow", "20K")
    assert output.splitlines()[0] == "demo-1 ↔ demo-0: limited to 20,480 bytes/s"
    assert "partitioned" not in output


def test_down_ends_every_fault_and_up_starts_without_any(running: Project) -> None:
    """A paused node does not handle SIGTERM; a partition would persist until the next start."""
    running.csctl("partition", "2", "--corrupt")
    running.csctl("pause", "1")
    assert "3 nodes stopped" in running.csctl("down")
    assert not running.directory.faults.exists()
    assert "demo is down" in running.csctl("partition", "2", code=ExitCode.NOT_FOUND)
    assert "demo-2 is not running" in running.csctl("pause", "2", code=ExitCode.NOT_FOUND)
    # As a machine that lost its power leaves it.
    link_faults.write_desired_faults(running.directory, DesiredFaults(generation=7, links=(drop("demo-0", "*"),)))
    running.up()
    assert "Faults in force" not in running.csctl("status")
    assert not running.directory.faults.exists()


def test_proxy_that_was_killed_is_reported_and_cleared_away(running: Project) -> None:
    running.csctl("partition", "0", "1", "--reset")
    report = link_faults.read_report(running.directory)
    assert report is not None
    os.kill(report.process.pid, signal.SIGKILL)
    until(lambda: identify_process(report.process.pid) != report.process)
    assert "the fault proxy has ended unexpectedly" in running.csctl("status")
    assert "ended: demo-0 ↔ demo-1: connections reset" in running.csctl("heal")
    assert not running.directory.node("demo-0").routes.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        pytest.param(("partition", "7"), ExitCode.FAILED, "its members: demo-0, demo-1, demo-2", id="unknown-member"),
        pytest.param(("partition", "0", "7"), ExitCode.FAILED, "no member '7'", id="unknown-peer"),
        pytest.param(("partition", "0", "demo-0"), ExitCode.USAGE, "partitioned from itself", id="from-itself"),
        pytest.param(("partition", "0", "--delay", "100"), ExitCode.USAGE, "allowed: a number above 0", id="no-unit"),
        pytest.param(("partition", "0", "--slow", "0K"), ExitCode.USAGE, "allowed: an integer above 0", id="no-bytes"),
        pytest.param(
            ("partition", "0", "--slow", "1K", "--reset"), ExitCode.USAGE, "exclude each other", id="two-effects"
        ),
        pytest.param(
            ("pause", "0", "--for", "0s"), ExitCode.USAGE, "allowed: a number above 0 and ms, s or m", id="no-time"
        ),
        pytest.param(("pause", "7"), ExitCode.FAILED, "its members: demo-0", id="unknown-paused"),
    ],
)
def test_mistake_is_named_and_does_nothing(
    running: Project, arguments: tuple[str, ...], code: ExitCode, expected: str
) -> None:
    assert expected in running.csctl(*arguments, code=code)
    assert not running.directory.faults.exists()


def drop(member: str, peer: str) -> LinkFault:
    return LinkFault(member=member, peer=peer, mode=Mode.DROP)


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    """The directory of a cluster of two without processes."""
    made = StateDirectory.at(tmp_path / "state").create_cluster("demo")
    resource = {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "demo"},
        "spec": {
            "replicas": 1,
            "unsafe": {"allowSingleReplica": True},
            "tls": {"client": "Disabled"},
            "local": {"basePort": 21380, "portStep": 5},
        },
    }
    write_json(made.resource, resource)
    for name in ("demo-0", "demo-1"):
        made.node(name).path.mkdir(parents=True)
    return made


@pytest.fixture
async def proxy(directory: ClusterDirectory) -> AsyncIterator[asyncio.Task[None]]:
    """A proxy without faults."""
    link_faults.write_desired_faults(directory, DesiredFaults(generation=1))
    task = asyncio.create_task(FaultProxy(directory, random.Random(1)).run())
    async with asyncio.timeout(DEADLINE_S):
        await done(directory, 1)
        yield task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - a file announces nothing to wait for
        await asyncio.sleep(0.005)


async def done(directory: ClusterDirectory, generation: int) -> None:
    def is_done() -> bool:
        report = link_faults.read_report(directory)
        return report is not None and report.generation >= generation

    await eventually(is_done)


def open_links(directory: ClusterDirectory) -> set[str]:
    report = link_faults.read_report(directory)
    assert report is not None
    return {f"{one} {other}" for one, counts in report.connections.items() for other, count in counts.items() if count}


async def ask(directory: ClusterDirectory, source: str, target: str) -> bytes:
    """Send hello on the route of a member to another, and return the response up to the end."""
    host, _, port = read_json(directory.node(source).routes)[target].partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(b"hello")
        writer.write_eof()
        return await reader.read()
    finally:
        writer.transport.abort()


async def test_proxy_leads_members_to_each_other_and_meets_the_links_asked_for(
    directory: ClusterDirectory, proxy: asyncio.Task[None]
) -> None:
    """Requests of demo-1 to demo-0 are dropped; the other direction is open, and proxy.json has its connection."""
    counted = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read() + b" back")
        await counted.wait()
        writer.close()

    servers = [await asyncio.start_server(serve, HOST, port) for port in (21381, 21386)]
    fault = LinkFault(member="demo-1", peer="demo-0", mode=Mode.RESET, one_way=True)
    link_faults.write_desired_faults(directory, DesiredFaults(generation=2, links=(fault,)))
    await done(directory, 2)
    with pytest.raises(ConnectionResetError):
        await ask(directory, "demo-1", "demo-0")
    answer = asyncio.create_task(ask(directory, "demo-0", "demo-1"))
    await eventually(lambda: open_links(directory) == {"demo-0 demo-1"})
    counted.set()
    assert await answer == b"hello back"
    for server in servers:
        server.close()


async def test_member_that_joins_later_is_met_as_well(directory: ClusterDirectory, proxy: asyncio.Task[None]) -> None:
    link_faults.write_desired_faults(directory, DesiredFaults(generation=2, links=(drop("demo-0", "*"),)))
    await done(directory, 2)
    directory.node("demo-2").path.mkdir()
    await eventually(directory.node("demo-2").routes.exists)
    assert sorted(read_json(directory.node("demo-2").routes)) == ["demo-0", "demo-1"]
    assert sorted(read_json(directory.node("demo-0").routes)) == ["demo-1", "demo-2"]


@pytest.mark.parametrize("end", ["healed", "stopped", "deleted"])
async def test_proxy_ends_with_its_reason_to_be(
    directory: ClusterDirectory, proxy: asyncio.Task[None], end: str
) -> None:
    """No fault outlives faults.json, the run state Running, or the directory of the cluster."""
    if end == "healed":
        directory.faults.unlink()
    elif end == "stopped":
        write_json(directory.run_state, {"run": "Stopped"})
    else:
        directory.resource.unlink()
    await proxy
    assert not directory.node("demo-0").routes.exists()
    assert not directory.fault_report.exists()
