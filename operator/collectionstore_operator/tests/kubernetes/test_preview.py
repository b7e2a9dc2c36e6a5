"""What a preview of a change shows is what the operator then plans: the same cluster, before and after the change."""

from __future__ import annotations

import copy
import time
from typing import Any

import msgspec
import pytest

from collectionstore_operator.kubernetes.preview import UNREAD_READS, preview_change
from collectionstore_operator.model.observed import NodeStatus
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.test_faults import CLUSTER, Life, living
from collectionstore_operator.tests.simulation.simulated_kube import NAMESPACE, WORKLOAD

SEED = 41


async def request_for(life: Life, **spec: Any) -> dict[str, Any]:
    """Return what csctl reads of a cluster as a user, with the change that is to be tried."""
    objects = copy.deepcopy(life.world.server.objects)
    resource = objects[CLUSTER]
    proposed = copy.deepcopy(resource)
    proposed["spec"].update(spec)
    proposed["metadata"]["generation"] = resource["metadata"].get("generation", 1) + 1
    pods = [body for path, body in objects.items() if path.startswith(f"{NAMESPACE}/pods/")]
    claims = [body for path, body in objects.items() if path.startswith(f"{NAMESPACE}/persistentvolumeclaims/")]
    answers = {}
    for pod in pods:
        name = pod["metadata"]["name"]
        found = await life.world.members.status(f"http://{name}.x/status")
        answers[name] = msgspec.to_builtins(found) if isinstance(found, NodeStatus) else {"error": found.reason}
    return {
        "now": time.time(),
        "proposed": proposed,
        "resource": resource,
        "workload": objects.get(WORKLOAD),
        "pods": pods,
        "claims": claims,
        "reads": {"workload": None, "pods": [], "claims": []},
        "answers": answers,
    }


def shown(steps: list[dict[str, Any]]) -> list[tuple[str, str, bool]]:
    return [(one["step"], one["subject"], bool(one.get("waitsFor") or one.get("blockedBy"))) for one in steps]


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 5},
        {"replicas": 1, "unsafe": {"allowSingleReplica": True}},
        {"version": "0.2.0"},
        {"networkPolicy": {"mode": "Disabled"}},
        {"monitoring": {"podMonitor": "Enabled"}},
        {"failedMember": {"graceSeconds": 60}},
    ],
    ids=["grow", "shrink", "upgrade", "no network policy", "pod monitor", "nothing to do"],
)
async def test_preview_is_the_plan_that_follows(spec: dict[str, Any]) -> None:
    async with living(SEED) as life:
        life.want(replicas=3)
        await life.settle()
        preview = preview_change(await request_for(life, **spec))
        assert preview["errors"] == []
        life.want(**spec)
        await life.round()
        planned = life.world.server.objects[CLUSTER]["status"].get("plan") or []
    assert shown(preview["steps"]) == shown(planned)
    assert [one["order"] for one in preview["steps"]] == list(range(1, len(planned) + 1))


async def test_preview_of_a_settled_cluster_without_a_change_is_empty() -> None:
    async with living(SEED) as life:
        life.want(replicas=3)
        await life.settle()
        assert preview_change(await request_for(life))["steps"] == []


async def test_preview_shows_what_disturbs_and_what_waits() -> None:
    async with living(SEED) as life:
        life.want(replicas=3)
        await life.settle()
        steps = preview_change(await request_for(life, version="0.2.0"))["steps"]
    restarts = [one for one in steps if one["step"] == "RestartPod"]
    assert [one["disruptive"] for one in restarts] == [True] * len(restarts)
    assert all(one["waitsFor"] for one in restarts), "new pods must get the new settings first"
    (first,) = [one for one in steps if not one["waitsFor"]]
    assert (first["step"], first["disruptive"]) == ("EnsureWorkload", False)


async def test_member_that_does_not_answer_is_unknown_and_not_gone() -> None:
    """Nothing that would need its answer is shown as possible."""
    async with living(SEED) as life:
        life.want(replicas=3)
        await life.settle()
        request = await request_for(life, version="0.2.0")
        request["answers"] = {name: {"error": "pods/proxy is forbidden"} for name in request["answers"]}
        steps = preview_change(request)["steps"]
    assert steps
    assert all(one["waitsFor"] for one in steps if one["disruptive"]), steps
    assert not [one for one in steps if one["step"] in ("RetireVolume", "Bootstrap")]


def copied(request: dict[str, Any]) -> None:
    """Have a read replica beside the voters, made from the same templates."""
    workload = copy.deepcopy(request["workload"])
    workload["metadata"] |= {"name": "demo-read", "labels": labels.object_labels("demo", "demo-read")}
    workload["spec"]["replicas"] = 1
    pod, claim = copy.deepcopy(request["pods"][0]), copy.deepcopy(request["claims"][0])
    for one, name in ((pod, "demo-read-0"), (claim, "data-demo-read-0")):
        one["metadata"] |= {"name": name, "uid": f"uid-{name}", "labels": labels.object_labels("demo", "demo-read")}
        one["metadata"].get("annotations", {}).pop(labels.NODE_ID, None)
    request["reads"] = {"workload": workload, "pods": [pod], "claims": [claim]}
    request["resource"]["spec"]["readReplicas"] = request["proposed"]["spec"]["readReplicas"] = 1


async def test_read_replicas_that_exist_are_not_announced_as_new() -> None:
    async with living(SEED) as life:
        life.want(replicas=3)
        await life.settle()
        request = await request_for(life)
    copied(request)
    made = {(one["step"], one["subject"]) for one in preview_change(request)["steps"]}
    assert not [one for one in made if one[0] in ("EnsureWorkload", "ApplyObject")], made
    request["reads"] = {"workload": None, "pods": [], "claims": []}
    made = {(one["step"], one["subject"]) for one in preview_change(request)["steps"]}
    assert ("EnsureWorkload", "demo-read") in made


async def test_program_that_does_not_read_them_is_told_what_is_assumed() -> None:
    async with living(SEED) as life:
        life.want(replicas=3)
        await life.settle()
        request = await request_for(life)
    assert UNREAD_READS not in preview_change(request)["assumed"]
    del request["reads"]
    assert UNREAD_READS in preview_change(request)["assumed"]


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ({"conditions": [{"type": "Hibernated", "status": "True", "reason": "Hibernated"}]}, "is stopped or starts"),
        ({"conditions": [{"type": "Hibernated", "status": "False", "reason": "Waking"}]}, "is stopped or starts"),
        ({"recovery": {"phase": "SettingAside"}}, "is being recovered (SettingAside)"),
        ({"recovery": {"phase": "Finished"}}, ""),
        ({"conditions": [{"type": "Hibernated", "status": "False", "reason": "Preparing"}]}, ""),
    ],
)
async def test_what_rests_on_the_record_is_refused(status: dict[str, Any], told: str) -> None:
    async with living(SEED) as life:
        life.want(replicas=3)
        await life.settle()
        request = await request_for(life, replicas=5)
    changed = request["resource"]["status"]
    changed["conditions"] += [{**changed["conditions"][0], **one} for one in status.get("conditions", [])]
    changed |= {key: value for key, value in status.items() if key != "conditions"}
    found = preview_change(request)
    assert bool(found["steps"]) is not bool(told)
    assert [told in one["message"] for one in found["errors"]] == ([True] if told else [])


def test_new_cluster_has_the_steps_of_its_beginning() -> None:
    proposed = {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "demo", "namespace": "shop"},
        "spec": {"replicas": 3},
    }
    preview = preview_change({"now": time.time(), "proposed": proposed, "resource": None})
    steps = [one["step"] for one in preview["steps"]]
    assert "EnsureWorkload" in steps
    assert steps.count("ApplyObject") >= 3


def test_invalid_change_has_every_error_with_what_is_allowed() -> None:
    proposed = {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "demo", "namespace": "shop"},
        "spec": {"replicas": 2, "colour": "blue"},
    }
    errors = preview_change({"now": 0.0, "proposed": proposed, "resource": None})["errors"]
    assert any("colour" in one["path"] for one in errors)
    assert all(one["allowed"] for one in errors)
