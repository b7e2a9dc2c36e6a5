"""Scenarios side by side: their order, how many at once, and what those may not do that do not run alone."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import NoCluster
from collectionstore_e2e.harness.kubectl import NODE_VERBS, Kubectl
from collectionstore_e2e.harness.machines import Machines
from collectionstore_e2e.harness.scenario import Scenario
from collectionstore_e2e.order import Order, Outcome
from collectionstore_e2e.scenarios import find_scenarios


async def nothing(_context: Context) -> None:
    """It does nothing."""


def declared(name: str, timeout_s: float, *, exclusive: bool = False) -> Scenario:
    return Scenario(name, nothing, timeout_s, needs_machines=False, exclusive=exclusive, pod_security="restricted")


class Watched:
    """Counts what runs at the same time."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.running: set[str] = set()
        self.most = 0
        self.beside: dict[str, set[str]] = {}

    async def run(self, one: Scenario) -> Outcome:
        self.begun.append(one.name)
        self.running.add(one.name)
        self.most = max(self.most, len(self.running))
        for name in self.running:
            self.beside.setdefault(name, set()).update(self.running - {name})
        for _ in range(int(one.timeout_s)):
            await asyncio.sleep(0)
        self.running.remove(one.name)
        return Outcome(one.name, passed=True, began_s=0.0, took_s=0.0)


MIXED = (
    declared("node-a", 9, exclusive=True),
    declared("short", 2),
    declared("long", 20),
    declared("node-b", 30, exclusive=True),
    declared("middle", 8),
    declared("medium", 8),
)


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (3, 3), (8, 4)])
def test_so_many_run_at_once_and_each_runs_once(at_once: int, most: int) -> None:
    watched = Watched()
    outcomes = asyncio.run(Order.of(MIXED).run(watched.run, at_once))
    assert sorted(one.name for one in outcomes) == sorted(one.name for one in MIXED)
    assert watched.most == most


def test_exclusive_scenarios_run_beside_nothing_and_last() -> None:
    watched = Watched()
    asyncio.run(Order.of(MIXED).run(watched.run, 3))
    assert watched.beside["node-a"] == watched.beside["node-b"] == set()
    assert watched.begun == ["long", "medium", "middle", "short", "node-b", "node-a"]


def test_order_does_not_depend_on_how_they_are_listed() -> None:
    assert Order.of(MIXED) == Order.of(MIXED[::-1])


def test_one_that_harms_nodes_is_exclusive_unless_it_says_otherwise() -> None:
    found = find_scenarios()
    assert found["a-killed-node-becomes-unknown-and-recovers"].exclusive
    assert not found["a-volume-outlives-its-pod"].exclusive


@pytest.mark.parametrize(
    "harm",
    [
        lambda one: one.kill("node-1"),
        lambda one: one.start("node-1"),
        lambda one: one.cut("node-1"),
        lambda one: one.rejoin("node-1"),
        lambda one: one.hang_api_server(),
        lambda one: one.resume_api_server(),
        lambda one: one.restore(),
    ],
)
def test_beside_others_no_machine_can_be_harmed(harm: object) -> None:
    shared = Machines(exclusive=True).of(exclusive=False)
    with pytest.raises(NoCluster, match="exclusive=True"):
        asyncio.run(harm(shared))  # type: ignore[operator]


@pytest.mark.parametrize("verb", sorted(NODE_VERBS))
def test_beside_others_no_node_can_be_drained(verb: str) -> None:
    kubectl = Kubectl(Path("/no/such/kubectl"), Path("kubeconfig"), "one", NODE_VERBS)
    with pytest.raises(NoCluster, match=verb):
        asyncio.run(kubectl(verb, "node-1"))
