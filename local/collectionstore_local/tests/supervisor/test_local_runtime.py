"""The runtime of one machine: observing changes nothing, and what is left undone is observed and done by actions."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.operator_state import OperatorStateFile, WorkloadState
from collectionstore_local.supervisor.runtime import LocalRuntime
from collectionstore_operator.model.actions import EstablishIdentity, RecordInitialized, StartPod, StopPod
from collectionstore_operator.model.observed import NodeStatus, Pod, Unknown
from collectionstore_operator.reconcile.node_client import NodeClient
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

PROGRAM = (sys.executable, "-c", "import time; time.sleep(60)")


class Machine:
    """A cluster directory with an applied resource, and the runtime of it."""

    def __init__(self, directory: ClusterDirectory, client: NodeClient) -> None:
        self.directory = directory
        resource = {"apiVersion": labels.API_VERSION, "kind": labels.KIND, "metadata": {"name": "demo"}, "spec": {}}
        directory.resource.write_text(json.dumps(resource))
        self._client = client
        self.runtime = self.restarted()

    def restarted(self) -> LocalRuntime:
        """Return the runtime of the next supervisor."""
        self.runtime = LocalRuntime(self.directory, self._client, node_command=PROGRAM, changed=lambda: None)
        return self.runtime

    async def desired(self) -> Desired:
        """Return the desired state."""
        found = await self.runtime.desired()
        assert found is not None
        return found

    def content(self) -> dict[str, bytes]:
        """Return every file there is."""
        files = (path for path in self.directory.path.rglob("*") if path.is_file())
        return {str(path): path.read_bytes() for path in files}


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with NodeClient(status_timeout_s=0.2) as client:
        machine = Machine(StateDirectory.at(tmp_path / "state").create_cluster("demo"), client)
        yield machine
        await machine.runtime.stop_nodes()
        await machine.runtime.release()


def remember(machine: Machine, replicas: int) -> None:
    """Have a workload recorded and nothing started, as after a crash in between or after a stop."""
    workload = WorkloadState(replicas=replicas, revision="r", settings={})
    OperatorStateFile(machine.directory.operator_state).change(cluster_id="c1", workload=workload)
    machine.restarted()


async def test_observing_starts_nothing_and_writes_nothing(machine: Machine) -> None:
    remember(machine, 2)
    before = machine.content()
    observed = await machine.runtime.observe(await machine.desired())
    assert observed.idle == (0, 1)
    assert machine.content() == before
    assert not machine.directory.node_names()


async def test_process_that_the_workload_includes_is_started_by_its_action(machine: Machine) -> None:
    """Once: a second time it runs already."""
    remember(machine, 2)
    desired = await machine.desired()
    observed = await machine.runtime.observe(desired)
    for _ in range(2):
        await machine.runtime.execute(StartPod(ordinal=1, name="demo-1", reason="x"), desired, observed)
    after = await machine.runtime.observe(desired)
    assert after.idle == (0,)
    assert machine.directory.node_names() == ("demo-1",)


async def test_crash_after_a_smaller_workload_was_recorded_leaves_nothing_running(machine: Machine) -> None:
    """The next supervisor observes what is left, and stops it by an action."""
    remember(machine, 3)
    desired = await machine.desired()
    observed = await machine.runtime.observe(desired)
    for ordinal in observed.idle:
        action = StartPod(ordinal=ordinal, name=desired.member(ordinal), reason="x")
        await machine.runtime.execute(action, desired, observed)
    await machine.runtime.release()
    remember(machine, 1)
    machine.runtime.take_over(start_desired=True)
    observed = await machine.runtime.observe(desired)
    assert observed.surplus == (1, 2)
    for ordinal in observed.surplus:
        pod = observed.slot(ordinal).pod
        assert isinstance(pod, Pod)
        stop = StopPod(ordinal=ordinal, name=desired.member(ordinal), uid=pod.uid, reason="x")
        await machine.runtime.execute(stop, desired, observed)
    after = await machine.runtime.observe(desired)
    assert after.surplus == ()
    assert [isinstance(after.slot(one).pod, Pod) for one in range(3)] == [True, False, False]


async def test_token_is_created_once_and_for_the_owner_alone(machine: Machine) -> None:
    machine.runtime.take_over(start_desired=False)
    file = machine.directory.admin_token
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = file.read_text()
    assert len(token.strip()) >= 32
    machine.restarted().take_over(start_desired=False)
    assert file.read_text() == token
    launch = machine.runtime._launch(await machine.desired(), 0) if machine.runtime._state.current.workload else None
    assert launch is None
    remember(machine, 1)
    launch = machine.restarted()._launch(await machine.desired(), 0)
    assert launch.settings["COLLECTIONSTORE_ADMIN_TOKEN_FILE"] == str(file)
    assert token.strip() not in str(launch)


def test_supervisor_with_the_lock_is_not_locked_out_by_an_epoch(machine: Machine) -> None:
    """A node has seen a higher one: by a restored operator.json, or by a program with the token."""
    runtime = machine.runtime
    runtime.take_over(start_desired=False)
    facts = runtime._state.change(cluster_id="c")
    seen = NodeStatus(cluster_id="c", node_id="0" * 16, name="demo-0", epoch=2**40)
    foreign = NodeStatus(cluster_id="other", node_id="1" * 16, name="demo-1", epoch=2**50)
    raised = runtime._above(facts, [seen, foreign, Unknown("silent")])
    assert raised.epoch == 2**40 + 1
    assert machine.restarted()._state.current.epoch == 2**40 + 1
    assert runtime._above(raised, [seen]) is raised


async def test_identity_is_drawn_once_and_kept(machine: Machine) -> None:
    desired = await machine.desired()
    observed = await machine.runtime.observe(desired)
    assert observed.cluster_id == ""
    for _ in range(2):
        await machine.runtime.execute(EstablishIdentity(reason="x"), desired, observed)
    drawn = (await machine.runtime.observe(desired)).cluster_id
    assert len(drawn) == 16
    machine.restarted()
    assert (await machine.runtime.observe(desired)).cluster_id == drawn


async def test_data_is_recorded_by_its_action_and_survives_the_supervisor(machine: Machine) -> None:
    desired = await machine.desired()
    observed = await machine.runtime.observe(desired)
    assert (observed.initialized, observed.initialized_recorded) == (False, False)
    await machine.runtime.execute(RecordInitialized(reason="x"), desired, observed)
    machine.restarted()
    after = await machine.runtime.observe(desired)
    assert (after.initialized, after.initialized_recorded) == (True, True)
