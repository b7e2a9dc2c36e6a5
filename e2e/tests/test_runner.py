"""The runner: scenarios that fail, exceed their timeout, or leave nodes that cannot be restored."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from collectionstore_e2e import runner as module
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.scenario import Body, Scenario
from collectionstore_e2e.kube.errors import ComponentFailed
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


class FakeMachines:
    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

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
        return asyncio.run(runner.run(Scenario("one", body, timeout_s, needs_machines=True, pod_security="restricted")))

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
