"""Node processes are kept running, adopted, restarted and stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from collectionstore_local.processes import node_records
from collectionstore_local.processes.node_process import (
    CANNOT_START,
    RESTART_DELAY_MAX_S,
    Node,
    describe_exit,
    restart_delay_s,
)
from collectionstore_local.processes.node_records import Launch
from collectionstore_local.state.directory import NodeDirectory
from collectionstore_operator.manifests.node_environment import PREFIX

PROGRAM = "import time; time.sleep(60)"
DEADLINE_S = 10.0


class Harness:
    """A node directory, and its node under consecutive supervisors."""

    def __init__(self, path: Path) -> None:
        self.directory = NodeDirectory(path / "demo-0")
        self.directory.path.mkdir()
        self.changed = asyncio.Event()
        self.nodes: list[Node] = []
        self._running: dict[Node, list[bool]] = {}

    def supervisor(self) -> Node:
        node = Node(self.directory, lambda: self._on_change(node))
        self.nodes.append(node)
        return node

    def follow(self, node: Node) -> list[bool]:
        """Return a list that grows with every change by whether the node runs then."""
        return self._running.setdefault(node, [])

    def _on_change(self, node: Node) -> None:
        if node in self._running:
            self._running[node].append(node.running)
        self.changed.set()

    def launch(self, program: str = PROGRAM, revision: str = "one") -> Launch:
        settings = {f"{PREFIX}DATA_DIR": str(self.directory.data)}
        return Launch(command=(sys.executable, "-c", program), settings=settings, revision=revision)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(tmp_path)
    yield harness
    for node in harness.nodes:
        await node.stop()


def pid_of(node: Node) -> int:
    assert node.running
    assert node.record.process is not None
    return node.record.process.pid


def kill_and_reap(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


async def test_wanted_node_is_started_on_its_volume(harness: Harness) -> None:
    """Its data directory is created, and the process is recorded."""
    node = harness.supervisor()
    assert node.ensure_running(harness.launch())
    assert node.running
    assert harness.directory.data.is_dir()
    assert node_records.running_process(harness.directory) == node.record.process


async def test_node_that_runs_is_not_started_again(harness: Harness) -> None:
    """New settings take effect at the next start."""
    node = harness.supervisor()
    node.ensure_running(harness.launch())
    before = pid_of(node)
    assert not node.ensure_running(harness.launch(revision="two"))
    assert pid_of(node) == before
    assert node.record.launch is not None
    assert node.record.launch.revision == "one"


async def test_killed_node_is_started_again_at_once(harness: Harness) -> None:
    """The first restart has no delay, and is counted."""
    node = harness.supervisor()
    node.ensure_running(harness.launch())
    before = pid_of(node)
    os.kill(before, signal.SIGKILL)
    await harness.until(lambda: node.running and pid_of(node) != before)
    assert node.record.restarts == 1
    assert node.record.last_exit is not None
    assert node.record.last_exit.reason == "it was killed by SIGKILL"


async def test_stopped_node_stays_stopped(harness: Harness) -> None:
    """A stop returns when the process has ended."""
    node = harness.supervisor()
    node.ensure_running(harness.launch())
    await node.stop()
    assert not node.running
    assert node_records.running_process(harness.directory) is None
    assert not node_records.load(harness.directory).should_run


async def test_next_supervisor_adopts_a_running_node(harness: Harness) -> None:
    """The process keeps running, and is restarted when it ends later."""
    first = harness.supervisor()
    first.ensure_running(harness.launch())
    pid = pid_of(first)
    first.release()
    second = harness.supervisor()
    second.recover(start_desired=True)
    assert pid_of(second) == pid
    os.kill(pid, signal.SIGKILL)
    await harness.until(lambda: second.running and pid_of(second) != pid)


async def test_unrecorded_process_is_found_by_its_data_directory(harness: Harness) -> None:
    """A supervisor killed right after a start leaves such a process; two on one disk must never run."""
    first = harness.supervisor()
    first.ensure_running(harness.launch())
    pid = pid_of(first)
    first.release()
    harness.directory.process.unlink()
    second = harness.supervisor()
    second.ensure_running(harness.launch())
    assert pid_of(second) == pid


async def test_node_that_ended_unseen_is_started_by_the_next_supervisor(harness: Harness) -> None:
    """It should run, so it is restarted; its exit code is unknown."""
    first = harness.supervisor()
    first.ensure_running(harness.launch())
    pid = pid_of(first)
    first.release()
    kill_and_reap(pid)
    second = harness.supervisor()
    second.recover(start_desired=True)
    assert pid_of(second) != pid
    assert second.record.last_exit is not None
    assert second.record.last_exit.code is None


async def test_node_is_not_started_when_the_cluster_is_being_stopped(harness: Harness) -> None:
    """A supervisor that starts only to stop the cluster starts no node."""
    first = harness.supervisor()
    first.ensure_running(harness.launch())
    pid = pid_of(first)
    first.release()
    kill_and_reap(pid)
    second = harness.supervisor()
    second.recover(start_desired=False)
    assert not second.running


async def test_restarted_node_has_the_new_settings(harness: Harness) -> None:
    """A node gets new settings by a restart."""
    node = harness.supervisor()
    node.ensure_running(harness.launch())
    before = pid_of(node)
    await node.restart(harness.launch(revision="two"))
    assert pid_of(node) != before
    assert node.record.launch is not None
    assert node.record.launch.revision == "two"
    assert node.record.restarts == 0


async def test_node_that_ends_at_once_is_tried_again_later(harness: Harness) -> None:
    """Its exit code is recorded, and the delays grow, which bounds the CPU time."""
    node = harness.supervisor()
    node.ensure_running(harness.launch("raise SystemExit(65)"))
    await harness.until(lambda: node.quick_exits >= 2)
    assert node.record.last_exit is not None
    assert node.record.last_exit.code == 65
    assert node.record.last_exit.reason == "its data directory was rejected"


async def test_program_that_cannot_be_started_counts_as_an_exit(harness: Harness) -> None:
    """The reason names the program."""
    node = harness.supervisor()
    node.ensure_running(Launch(command=("/does/not/exist",), settings={}, revision="one"))
    assert node.record.last_exit is not None
    assert node.record.last_exit.code == CANNOT_START
    assert "/does/not/exist" in node.record.last_exit.reason


async def test_node_whose_directory_cannot_be_made_is_tried_again(harness: Harness) -> None:
    """It should run, so nothing else would start it."""
    harness.directory.data.write_text("not a directory")
    node = harness.supervisor()
    node.ensure_running(harness.launch())
    assert not node.running
    assert node.record.last_exit is not None
    assert node.record.last_exit.code == CANNOT_START
    assert str(harness.directory.data) in node.record.last_exit.reason
    harness.directory.data.unlink()
    await harness.until(lambda: node.running)


async def test_node_is_restarted_though_its_exit_cannot_be_recorded(harness: Harness) -> None:
    """A full disk ends nodes and prevents the record; the next supervisor finds the process by its data directory."""
    node = harness.supervisor()
    node.ensure_running(harness.launch())
    running = harness.follow(node)
    harness.directory.process.unlink()
    harness.directory.process.mkdir()
    os.kill(pid_of(node), signal.SIGKILL)
    await harness.until(lambda: running == [False, True])
    harness.directory.process.rmdir()


def test_restart_delays_double_up_to_the_limit() -> None:
    """The first restart has no delay."""
    assert [restart_delay_s(exits) for exits in range(6)] == [0, 0, 0.25, 0.5, 1, 2]
    assert restart_delay_s(1000) == RESTART_DELAY_MAX_S


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, "on request"),
        (64, "settings"),
        (69, "address"),
        (74, "disk"),
        (3, "exit code 3"),
        (-9, "SIGKILL"),
        (None, "unknown"),
    ],
)
def test_exit_is_described(code: int | None, text: str) -> None:
    """Every exit code of a node has a description."""
    assert text in describe_exit(code)
