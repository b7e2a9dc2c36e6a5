"""The verbs of csctl and the kubectl plugin on a local cluster: the same words, planner and exit codes."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from collectionstore import csctl, plugin
from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.commands.cluster_access import LocalAccess
from collectionstore_local.state.applied_resource import ChangeRefused
from collectionstore_local.state.directory import StateDirectory
from collectionstore_local.tests.clusters import test_local_cluster as clusters
from collectionstore_local.tests.clusters.test_local_cluster import Project

pytestmark = pytest.mark.xdist_group("local_cluster")

project, started, running = clusters.project, clusters.started, clusters.running


def run(project: Project, *words: str, code: ExitCode = ExitCode.OK, of: Any = csctl) -> str:
    """Run a verb on the cluster and return all it printed."""
    local = () if of is csctl else ("--local",)
    result = CliRunner().invoke(of.main, [words[0], *local, "--state-dir", str(project.state), *words[1:]])
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


@pytest.mark.parametrize("of", [csctl, plugin], ids=["csctl", "kubectl"])
def test_verbs_look_at_a_local_cluster(running: Project, of: Any) -> None:
    assert "demo  Ready  3/3 members" in run(running, "status", of=of)
    assert {one["name"] for one in json.loads(run(running, "members", "-o", "json", of=of))} == {
        "demo-0",
        "demo-1",
        "demo-2",
    }
    assert yaml.safe_load(run(running, "status", "demo", "-o", "yaml", of=of))["kind"] == "CollectionStoreCluster"
    assert "nothing to do" in run(running, "plan", of=of)


def test_plan_shows_the_steps_and_changes_nothing(running: Project) -> None:
    running.write(replicas=5)
    found = json.loads(run(running, "plan", "-f", str(running.file), "-o", "json"))
    assert found["changes"] == ["spec.replicas: 3 → 5"]
    steps = [one["step"] for one in found["steps"]]
    assert steps[-1] == "ChangeVoters"
    assert {"EnsureWorkload", "AddLearners"} <= set(steps)
    assert [one["order"] for one in found["steps"]] == list(range(1, len(steps) + 1))
    running.write(replicas=2)
    assert "allowed: 3, 5, 7 or 9" in run(running, "plan", "-f", str(running.file), code=ExitCode.INVALID_RESOURCE)
    running.write()
    assert "unchanged" in run(running, "plan", "-f", str(running.file))


def test_plan_of_a_new_cluster_creates_nothing(project: Project) -> None:
    found = json.loads(run(project, "plan", "-f", str(project.file), "-o", "json"))
    assert found["outcome"] == "created"
    assert [one["step"] for one in found["steps"]] == ["EstablishIdentity"]
    assert not project.state.exists()


def test_restart_and_replace_wait_for_their_end(running: Project) -> None:
    pids, nodes = running.pids(), running.node_ids()
    assert "Ready  3/3 members" in run(running, "restart", "demo")
    assert not set(pids.values()) & set(running.pids().values())
    assert running.node_ids() == nodes
    assert "demo-1" in run(running, "replace", "demo", "1", "--yes")
    assert running.node_ids()["demo-1"] != nodes["demo-1"]


def test_change_that_the_resource_does_not_allow_is_refused(running: Project) -> None:
    before = running.directory.resource.read_text()
    state = StateDirectory.open(running.state)
    with pytest.raises(ChangeRefused, match="Nothing was changed"):
        LocalAccess(state, running.directory).change({"spec": {"replicas": 2}})
    assert running.directory.resource.read_text() == before


def test_cluster_or_member_that_does_not_exist_has_its_exit_code(running: Project) -> None:
    assert "no cluster named 'absent'" in run(running, "restart", "absent", code=ExitCode.NOT_FOUND)
    assert "its members: demo-0" in run(running, "replace", "demo", "7", "--yes", code=ExitCode.NOT_FOUND)
