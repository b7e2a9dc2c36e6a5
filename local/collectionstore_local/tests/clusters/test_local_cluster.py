"""Scenarios of a local cluster, run by csctl with the real supervisor and fake nodes as processes."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.commands.cli import local
from collectionstore_local.commands.lifecycle import supervisor_pid
from collectionstore_local.processes.node_records import running_process
from collectionstore_local.processes.port_allocation import HOST, taken_ports
from collectionstore_local.processes.process import identify_process
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.published_status import read_observed, read_status
from collectionstore_operator.settings import NODE_COMMAND

pytestmark = pytest.mark.xdist_group("local_cluster")

FAKE_NODE = Path(__file__).parent / "fake_node.py"
DEADLINE_S = 30.0
PORTS = 27  # nine nodes


class Project:
    """A directory with a manifest, in which csctl runs."""

    def __init__(self, path: Path) -> None:
        self.file = path / "demo.yaml"
        self.state = path / "state"
        self.directory = ClusterDirectory(self.state / "demo")
        self.base_port = free_base_port()
        self.write()

    def write(self, **spec: object) -> None:
        """Write the manifest with these fields of the spec."""
        whole = {"replicas": 3, "tls": {"client": "Disabled"}, "local": {"basePort": self.base_port, "portStep": 3}}
        resource = {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": "CollectionStoreCluster",
            "metadata": {"name": "demo"},
            "spec": {**whole, **spec},
        }
        self.file.write_text(yaml.safe_dump(resource, sort_keys=False))

    def csctl(self, *arguments: str, code: ExitCode = ExitCode.OK) -> str:
        """Run a command and return all it printed; the exit code must be `code`."""
        result: Result = CliRunner().invoke(local, [*arguments, "--state-dir", str(self.state)])
        assert result.exit_code == code, result.output
        return result.output

    def up(self, *arguments: str, code: ExitCode = ExitCode.OK) -> str:
        return self.csctl("up", "-f", str(self.file), *arguments, code=code)

    def pids(self) -> dict[str, int]:
        """Return the pid of every node that runs."""
        found = {name: running_process(self.directory.node(name)) for name in self.directory.node_names()}
        return {name: process.pid for name, process in found.items() if process is not None}

    def status(self) -> dict[str, Any]:
        """Return what `status -o json` says."""
        answer: dict[str, Any] = json.loads(self.csctl("status", "-o", "json"))
        return answer

    def node_ids(self) -> dict[str, str]:
        return {row["name"]: row["nodeId"] for row in self.status()["local"]["members"]}

    def is_ready(self) -> bool:
        return "Ready  3/3 members" in self.csctl("status")


def free_base_port() -> int:
    """Return the first of PORTS free ports in a row, below those that the kernel gives to outgoing connections."""
    for _ in range(100):
        base = random.randrange(20_000, 32_000)
        if not taken_ports(range(base, base + PORTS)):
            return base
    raise AssertionError("no free ports")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


def make_project(path: Path) -> Iterator[Project]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(NODE_COMMAND, shlex.join([sys.executable, str(FAKE_NODE)]))
        project = Project(path)
        yield project
        if project.directory.path.exists():
            project.csctl("clean", "--yes")


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """A directory without a cluster."""
    yield from make_project(tmp_path)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    for project in make_project(tmp_path_factory.mktemp("running")):
        project.up()
        yield project


@pytest.fixture
def running(started: Project) -> Project:
    """A running cluster of three, shared by the tests that restore it."""
    started.write()
    assert "nothing to do" in started.up()
    return started


def test_cluster_comes_up_stays_up_and_goes_down(project: Project) -> None:
    """`up` ends with a ready cluster, a second one changes nothing, `down` keeps data, `clean` leaves nothing."""
    output = project.up()
    for part in (
        "demo created",
        "Bootstrap",
        "ChangeVoters",
        "Ready  3/3 members",
        "tolerates 1 failure",
        "curl -X PUT",
    ):
        assert part in output
    assert f"http://127.0.0.1:{project.base_port}" in output
    pids, node_ids = project.pids(), project.node_ids()
    assert len(pids) == 3
    assert "unchanged and Ready, nothing to do" in project.up()
    assert project.pids() == pids
    for key in project.directory.path.rglob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600, key

    assert "3 nodes stopped" in project.csctl("down")
    assert project.pids() == {}
    assert supervisor_pid(project.directory) is None
    assert "Down" in project.csctl("status")
    assert "is already down" in project.csctl("down")

    project.up()
    assert project.node_ids() == node_ids
    assert "demo is deleted" in project.csctl("clean", "--yes")
    assert not project.state.exists()


def test_cluster_grows_and_shrinks(project: Project) -> None:
    """3 to 5, to 1 and back to 5; volumes of removed members are kept and marked, and no member starts on them."""
    project.up()
    output = project.csctl("scale", "--replicas", "5")
    assert "spec.replicas: 3 → 5" in output
    assert "+demo-3 +demo-4" in output
    assert "Ready  5/5 members" in output
    grown = project.node_ids()

    output = project.csctl("scale", "--replicas", "1", code=ExitCode.INVALID_RESOURCE)
    assert "allowSingleReplica" in output
    assert len(project.pids()) == 5
    output = project.csctl("scale", "--replicas", "1", "--allow-single-replica")
    assert "Ready  1/1 members" in output
    assert "tolerates no failure" in output
    assert sorted(project.pids()) == ["demo-0"]
    assert "Volumes of removed members, kept: demo-1, demo-2, demo-3, demo-4" in project.csctl("status")

    assert "spec.replicas stays 1" in project.up()
    assert "spec.replicas: 1 → 3" in project.csctl("apply", "-f", str(project.file))
    again = project.node_ids()
    assert again["demo-0"] == grown["demo-0"]
    assert again["demo-1"] != grown["demo-1"]
    assert (project.directory.node("demo-1").path / "retired" / "1" / "data" / "IDENTITY").exists()


def test_supervisor_that_ends_disturbs_no_node(project: Project) -> None:
    """After kill -9 the next one adopts running nodes and starts the others, in a higher epoch; SIGTERM is harmless."""
    project.up()
    pids, before = project.pids(), read_observed(project.directory)
    end_supervisor(project, signal.SIGKILL)
    assert project.pids() == pids
    assert "Unsupervised  the reconcile loop is not running; 3 of 3 nodes run" in project.csctl("status")
    os.kill(pids["demo-2"], signal.SIGKILL)
    until(lambda: "demo-2" not in project.pids())

    assert "Ready  3/3" in project.up()
    after = project.pids()
    assert {name: after[name] for name in ("demo-0", "demo-1")} == {name: pids[name] for name in ("demo-0", "demo-1")}
    assert after["demo-2"] != pids["demo-2"]
    observed = read_observed(project.directory)
    assert before is not None
    assert observed is not None
    assert observed.epoch == before.epoch + 1

    end_supervisor(project, signal.SIGTERM)
    assert project.pids() == after
    assert "3 nodes stopped" in project.csctl("down")
    assert project.pids() == {}


def end_supervisor(project: Project, number: signal.Signals) -> None:
    pid = supervisor_pid(project.directory)
    assert pid is not None
    os.kill(pid, number)
    until(lambda: supervisor_pid(project.directory) is None)


def test_nodes_of_a_deleted_folder_are_stopped(project: Project) -> None:
    """Deleting the state by hand leaves no processes behind that hold ports."""
    project.up("--timeout", "0.1", code=ExitCode.TIMED_OUT)
    until(lambda: len(project.pids()) == 3)
    pids = project.pids().values()

    def deleted() -> bool:
        shutil.rmtree(project.state, ignore_errors=True)  # the supervisor may be writing into it
        return not project.state.exists()

    until(deleted)
    until(lambda: not any(identify_process(pid) for pid in pids))


def test_node_that_refuses_its_disk_is_reported(project: Project) -> None:
    """`up` times out, the reconcile loop continues, and the status names the node and the reason."""
    node = StateDirectory.at(project.state).create_cluster("demo").node("demo-1")
    node.data.mkdir(parents=True)
    (node.data / "IDENTITY").write_text(json.dumps({"cluster_id": "other", "name": "other-1", "node_id": "7" * 16}))
    project.up("--timeout", "0.1", code=ExitCode.TIMED_OUT)

    def reported() -> bool:
        status = read_status(project.directory)
        return status is not None and "its data directory was rejected" in status.members[1].message

    until(reported)
    assert "demo-1" in project.csctl("status")


def test_killed_node_is_back_soon(running: Project) -> None:
    """kill -9 of a node: the supervisor notices immediately and restarts it on its data directory."""
    pids, node_ids = running.pids(), running.node_ids()
    assert f"process {pids['demo-1']}" in running.csctl("kill", "1")
    until(lambda: running.pids().get("demo-1", pids["demo-1"]) != pids["demo-1"])
    until(running.is_ready)
    assert running.node_ids() == node_ids
    row = next(row for row in running.status()["local"]["members"] if row["name"] == "demo-1")
    assert row["restarts"] == 1


def test_restart_goes_through_all_members_one_after_the_other(running: Project) -> None:
    """Every process is replaced, and the leader transfers leadership before its turn."""
    pids = running.pids()
    output = running.csctl("restart")
    assert output.count("✓ RestartPod") == 3
    assert "✓ TransferLeadership" in output
    after = running.pids()
    assert all(after[name] != pids[name] for name in pids)


def test_replaced_member_is_another_incarnation(running: Project) -> None:
    """The old volume is kept, and one joint change swaps the two."""
    node_ids = running.node_ids()
    assert "RetireVolume demo-1" in running.csctl("replace", "demo-1", "--in-place")
    after = running.node_ids()
    assert after["demo-1"] != node_ids["demo-1"]
    assert after["demo-0"] == node_ids["demo-0"]


def test_bad_manifest_leaves_a_running_cluster_alone(running: Project) -> None:
    """A change of an immutable field is refused, and nothing changes."""
    resource, pids = running.directory.resource.read_bytes(), running.pids()
    running.write(replicas=2)
    running.csctl("apply", "-f", str(running.file), code=ExitCode.INVALID_RESOURCE)
    running.write(local={"basePort": running.base_port + 1, "portStep": 3})
    output = running.csctl("apply", "-f", str(running.file), code=ExitCode.INVALID_RESOURCE)
    assert "spec.local" in output
    assert running.directory.resource.read_bytes() == resource
    assert running.pids() == pids


def test_plan_shows_what_would_happen_and_does_nothing(running: Project) -> None:
    """The same planner, on the last observation."""
    resource = running.directory.resource.read_bytes()
    running.write(replicas=5)
    output = running.csctl("plan", "-f", str(running.file))
    assert "demo would be configured" in output
    assert "EnsureWorkload" in output
    assert "Nothing was changed." in output
    assert running.directory.resource.read_bytes() == resource
    assert len(running.pids()) == 3


def test_status_is_the_same_in_every_form(running: Project) -> None:
    """JSON and YAML hold the resource with its status, and the members' numbers."""
    status = running.status()
    assert yaml.safe_load(running.csctl("status", "-o", "yaml"))["status"] == status["status"]
    assert status["status"]["faultTolerance"] == 1
    assert status["metadata"]["generation"] >= 1
    assert [row["lag"] for row in status["local"]["members"]] == [0, 0, 0]
    wide = running.csctl("status", "-o", "wide")
    for row in status["local"]["members"]:
        assert row["nodeId"] in wide
    assert "Plan: nothing to do" in wide


def test_logs_of_all_are_merged_and_of_one_are_alone(running: Project) -> None:
    """Lines are readable, ordered by time, and have their source."""
    everything = running.csctl("logs", "--tail", "1000")
    assert "action.performed action=Bootstrap" in everything
    moments = [line[:12] for line in everything.splitlines() if line[:2].isdigit()]
    assert moments == sorted(moments)
    only = running.csctl("logs", "demo-1")
    assert "node.started name=demo-1" in only
    assert "demo-0" not in only
    assert json.loads(running.csctl("logs", "2", "--raw").splitlines()[0])["event"] == "node.started"


def test_port_held_by_another_local_cluster_is_named_as_such(running: Project) -> None:
    """Two clusters with the same ports are a likely mistake; the message has the remedy."""
    other = running.file.with_name("other.yaml")
    other.write_text(running.file.read_text().replace("name: demo", "name: other"))
    output = running.csctl("up", "-f", str(other), code=ExitCode.PORT_TAKEN)
    assert "node demo-0 of cluster demo" in output
    assert "spec.local.basePort" in output
    assert len(running.pids()) == 3


def test_clean_asks_first(running: Project) -> None:
    """Without --yes and without an answer nothing is deleted."""
    running.csctl("clean", code=ExitCode.FAILED)
    assert running.is_ready()


def test_taken_port_is_named_with_its_process_before_anything_starts(project: Project) -> None:
    """The message has the port and the process that holds it."""
    with socket.socket() as server:
        server.bind((HOST, project.base_port + 4))
        server.listen()
        output = project.up(code=ExitCode.PORT_TAKEN)
    assert f"port {project.base_port + 4} of demo-1 is in use by process {os.getpid()}" in output
    assert "Nothing was started." in output
    assert not project.state.exists()


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"replicas": 4}, "spec.replicas"),
        ({"replicas": "three"}, "spec.replicas"),
        ({"colour": "red"}, "spec.colour"),
    ],
)
def test_bad_manifest_changes_nothing(project: Project, spec: dict[str, object], expected: str) -> None:
    """The message has file, field and what is allowed; not even a directory is created."""
    project.write(**spec)
    output = project.up(code=ExitCode.INVALID_RESOURCE)
    assert f"{project.file}:" in output
    assert expected in output
    assert "allowed:" in output
    assert not project.state.exists()


def test_clean_refuses_a_folder_that_is_not_ours(project: Project) -> None:
    """A wrong --state-dir deletes nothing."""
    project.state.mkdir()
    precious = project.state / "thesis.txt"
    precious.write_text("years of work")
    output = project.csctl("clean", "--yes", code=ExitCode.REFUSED)
    assert "not a state directory of csctl" in output
    assert precious.exists()


def test_commands_without_a_cluster_say_how_to_begin(project: Project) -> None:
    """The exit code says that there is none."""
    for command in (["status"], ["down"], ["logs"], ["scale", "--replicas", "5"]):
        assert "csctl local up -f FILE" in project.csctl(*command, code=ExitCode.NOT_FOUND)
