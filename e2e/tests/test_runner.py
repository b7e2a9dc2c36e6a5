"""The runner: scenarios that fail, exceed their timeout, or leave nodes that cannot be restored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectionstore_e2e import runner as module
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import Refused
from collectionstore_e2e.harness.scenario import Body, Scenario
from collectionstore_e2e.kube.errors import ComponentFailed
from collectionstore_e2e.order import Order, Outcome
from collectionstore_e2e.runner import Runner


class FakeClient:
    """Accepts namespaces only."""

    def __init__(self) -> None:
        self.namespaces: list[str] = []

    def within(self, _namespace: str) -> FakeClient:
        return self

    async def create(self, manifest: dict[str, Any]) -> None:
        self.namespaces.append(manifest["metadata"]["name"])

    async def delete(self, _kind: object, name: str) -> None:
        self.namespaces.remove(name)


class DeafClient(FakeClient):
    """Refuses everything."""

    async def create(self, manifest: dict[str, Any]) -> None:
        raise Refused(503, "ServiceUnavailable", "etcd has no leader")


class FakeMachines:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def of(self, *, exclusive: bool) -> FakeMachines:
        assert exclusive
        return self

    async def restore(self) -> None:
        if self.error is not None:
            raise self.error

    def logs(self) -> dict[str, Path]:
        return {}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeClient:
    monkeypatch.setattr(module, "EVIDENCE", tmp_path)
    monkeypatch.setattr(module, "find_kubectl", lambda: Path("/kubectl"))
    return FakeClient()


Attempt = Callable[..., bool]


@pytest.fixture
def attempt(client: FakeClient) -> Attempt:
    def run(body: Body, machines: FakeMachines | None = None, *, timeout_s: float = 60) -> bool:
        fake: Any = client
        nodes: Any = machines or FakeMachines()
        runner = Runner(fake, Path("kubeconfig"), nodes, keep=False)
        one = Scenario("one", body, timeout_s, needs_machines=True, exclusive=True, pod_security="restricted")
        return asyncio.run(runner.run(one)).passed

    return run


async def passing(_context: Context) -> None:
    """It passes."""


async def failing(_context: Context) -> None:
    """It fails."""
    raise AssertionError("the store is empty")


async def waiting(_context: Context) -> None:
    """It never ends."""
    await asyncio.Event().wait()


def test_scenario_that_passes_leaves_nothing(attempt: Attempt, client: FakeClient, tmp_path: Path) -> None:
    assert attempt(passing)
    assert client.namespaces == []
    assert list(tmp_path.iterdir()) == []


def test_failure_is_printed_and_its_diagnostics_are_kept(
    attempt: Attempt, client: FakeClient, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not attempt(failing)
    assert client.namespaces == []
    assert "the store is empty" in capsys.readouterr().out
    (folder,) = tmp_path.iterdir()
    assert "the store is empty" in (folder / "error.txt").read_text()


def test_scenario_that_exceeds_its_timeout_fails(attempt: Attempt, capsys: pytest.CaptureFixture[str]) -> None:
    assert not attempt(waiting, timeout_s=0.01)
    assert "one did not finish within 0 s" in capsys.readouterr().out


def test_node_that_cannot_be_restored_fails_the_scenario_but_not_the_run(
    attempt: Attempt, client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not attempt(passing, FakeMachines(ComponentFailed("containerd on node-3: not within 60 s")))
    assert client.namespaces == []
    output = capsys.readouterr().out
    assert "containerd on node-3: not within 60 s" in output
    assert "raised during clean-up" in output


def test_first_failure_is_reported_first_and_counted_once(attempt: Attempt, capsys: pytest.CaptureFixture[str]) -> None:
    assert not attempt(failing, FakeMachines(ComponentFailed("no containerd")))
    output = capsys.readouterr().out
    assert output.index("the store is empty") < output.index("no containerd")
    assert output.count("FAIL") == 1


def test_deferred_callbacks_run_even_if_no_node_can_be_restored(attempt: Attempt) -> None:
    done: list[str] = []

    async def body(context: Context) -> None:
        """It registers a callback."""
        context.later.callback(done.append, "cleared")

    assert not attempt(body, FakeMachines(ComponentFailed("no containerd")))
    assert done == ["cleared"]


def test_scenario_that_cannot_begin_fails_and_says_why(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    deaf: Any = DeafClient()
    nodes: Any = FakeMachines()
    one = Scenario("one", passing, 60, needs_machines=True, exclusive=True, pod_security="restricted")
    assert not asyncio.run(Runner(deaf, Path("kubeconfig"), nodes, keep=False).run(one)).passed
    assert "etcd has no leader" in capsys.readouterr().out


def test_lines_of_a_scenario_beside_others_are_printed_together(
    client: FakeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two scenarios take turns to speak; each one's lines follow its result."""
    turns = [asyncio.Event() for _ in range(4)]

    def speaker(name: str, first: int, second: int) -> Body:
        async def speak(context: Context) -> None:
            for number in (first, second):
                await turns[number].wait()
                context.say(f"{name} {number}")
                if number + 1 < len(turns):
                    turns[number + 1].set()

        return speak

    def declare(name: str, body: Body) -> Scenario:
        return Scenario(name, body, 60, needs_machines=False, exclusive=False, pod_security="restricted")

    async def both() -> None:
        turns[0].set()
        runner = Runner(client, Path("kubeconfig"), None, keep=False)  # type: ignore[arg-type]
        order = Order.of([declare("a", speaker("a", 0, 2)), declare("b", speaker("b", 1, 3))])
        outcomes = await order.run(lambda one: runner.run(one, alone=False), 2)
        assert [one.passed for one in outcomes] == [True, True]

    asyncio.run(both())
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    ended = [line.split()[1] if line.startswith("ok") else line for line in lines if not line.startswith("run")]
    assert ended == ["a", "a 0", "a 2", "b", "b 1", "b 3"]


def test_interrupted_scenario_says_how_far_it_came(client: FakeClient, capsys: pytest.CaptureFixture[str]) -> None:
    spoken = asyncio.Event()

    async def body(context: Context) -> None:
        context.say("the first half is done")
        spoken.set()
        await asyncio.Event().wait()

    async def interrupt() -> None:
        one = Scenario("one", body, 60, needs_machines=False, exclusive=False, pod_security="restricted")
        runner = Runner(client, Path("kubeconfig"), None, keep=False)  # type: ignore[arg-type]
        task = asyncio.create_task(runner.run(one, alone=False))
        await spoken.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupt())
    output = capsys.readouterr().out
    assert "STOP   one" in output
    assert "the first half is done" in output


def test_times_of_all_and_the_names_of_the_failed_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "EVIDENCE", tmp_path)
        module._sum_up(
            [
                Outcome("quick", passed=True, began_s=0.0, took_s=1.0),
                Outcome("slow", passed=False, began_s=0.5, took_s=60.0),
            ],
            60.5,
        )
    assert [one["name"] for one in json.loads((tmp_path / module.TIMES).read_text())] == ["slow", "quick"]
    output = capsys.readouterr().out
    assert "failed: slow" in output
    assert "1 passed, 1 failed" in output
