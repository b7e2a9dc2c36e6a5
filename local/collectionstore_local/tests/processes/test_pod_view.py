"""A process is a pod in the planner's model, with the kind of its failure."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collectionstore_local.processes.node_process import Node
from collectionstore_local.processes.node_records import Launch
from collectionstore_local.processes.pod_view import PodView, explain
from collectionstore_local.state.directory import NodeDirectory
from collectionstore_operator.model.observed import ABSENT, Absent, Failure, NodeStatus, Pod, Unknown

SILENT = Unknown("connection refused")


class Harness:
    """One node, and its view as a pod."""

    def __init__(self, path: Path) -> None:
        directory = NodeDirectory(path / "demo-0")
        directory.path.mkdir()
        self.changed = asyncio.Event()
        self.node = Node(directory, self.changed.set)
        self.view = PodView()

    def run(self, program: str) -> None:
        self.node.ensure_running(Launch(command=(sys.executable, "-c", program), settings={}, revision="one"))

    def look(self, *, ready: bool = False) -> Pod | Absent:
        return self.view.look(self.node, ready=ready, peer_address="h:1", http_address="http://h:2")

    def pod(self, *, ready: bool = False) -> Pod:
        pod = self.look(ready=ready)
        assert isinstance(pod, Pod)
        return pod

    async def until_exits(self, count: int) -> None:
        async with asyncio.timeout(10):
            while self.node.quick_exits < count:
                self.changed.clear()
                await self.changed.wait()


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[Harness]:
    harness = Harness(tmp_path)
    yield harness
    await harness.node.stop()


async def test_node_that_was_never_wanted_has_no_pod(harness: Harness) -> None:
    """Neither has one that was stopped."""
    assert harness.look() is ABSENT
    harness.run("import time; time.sleep(60)")
    assert isinstance(harness.look(), Pod)
    await harness.node.stop()
    assert harness.look() is ABSENT


async def test_running_pod_shows_what_was_started(harness: Harness) -> None:
    """Its uid identifies the process, and changes with it."""
    harness.run("import time; time.sleep(60)")
    pod = harness.pod(ready=True)
    assert (pod.running, pod.ready, pod.revision, pod.unready_s) == (True, True, "one", 0.0)
    assert (pod.peer_address, pod.http_address) == ("h:1", "http://h:2")
    launch = harness.node.record.launch
    assert launch is not None
    await harness.node.restart(launch)
    assert harness.pod().uid != pod.uid


@pytest.mark.parametrize(
    ("code", "failure"),
    [
        (64, Failure.CONFIGURATION),
        (65, Failure.DAMAGED),
        (69, Failure.CONFIGURATION),
        (74, Failure.DISK),
        (3, Failure.NONE),
    ],
)
async def test_exit_code_decides_the_failure(harness: Harness, code: int, failure: Failure) -> None:
    """One exit for another reason may be an accident."""
    harness.run(f"raise SystemExit({code})")
    await harness.until_exits(1)
    assert harness.pod().failure is failure
    assert "node.log" in harness.pod().detail


async def test_repeated_exits_are_a_crash(harness: Harness) -> None:
    """A new disk might help."""
    harness.run("raise SystemExit(3)")
    await harness.until_exits(3)
    assert harness.pod().failure is Failure.CRASH


async def test_program_that_cannot_be_started_is_an_image_failure(harness: Harness) -> None:
    """A new disk would not help."""
    harness.node.ensure_running(Launch(command=("/does/not/exist",), settings={}, revision="one"))
    assert harness.pod().failure is Failure.IMAGE


async def test_silence_of_a_node_just_started_is_explained(harness: Harness) -> None:
    """Every node refuses connections at first."""
    harness.run("import time; time.sleep(60)")
    assert explain(harness.node, SILENT) == Unknown("it is starting")
    answer = NodeStatus(cluster_id="c", node_id="a", name="demo-0")
    assert explain(harness.node, answer) is answer


async def test_requested_replacement_is_shown(harness: Harness) -> None:
    """The counterpart of the annotation on a pod."""
    harness.run("import time; time.sleep(60)")
    harness.node.directory.replace_request.touch()
    assert harness.pod().replace_requested
