"""The report of a cluster on Kubernetes: objects, logs and pages of its pods and of the operator's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collectionstore.kubernetes import names
from collectionstore.kubernetes.api_server import ApiError
from collectionstore.report.archive import MANIFEST, Manifest
from collectionstore.report.kubernetes_items import plan_report
from collectionstore.tests.kubernetes.fake_api_server import FakeApiServer, Request, Response, refusal
from collectionstore.tests.report.test_report import SECRET, write


def pod(name: str, namespace: str, labels: dict[str, str], container: str, restarts: int) -> dict[str, Any]:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {"nodeName": "n1", "containers": [{"name": container, "env": [{"name": "PW", "value": SECRET}]}]},
        "status": {"containerStatuses": [{"name": container, "restartCount": restarts}]},
    }


async def report_of(
    fake: FakeApiServer, tmp_path: Path, *, operator_namespace: str | None = "ops"
) -> tuple[Manifest, dict[str, bytes]]:
    with fake as server:
        plan = plan_report(server, namespace="shop", cluster="demo", operator_namespace=operator_namespace, since_s=60)
        return await write(plan, tmp_path / "r.tar.gz")


def respond(request: Request) -> Response | None:
    """Serve logs and pages; every one of them has a secret in it."""
    if request.path.endswith("/log"):
        before = "previous" in request.query
        return Response(200, f'{{"event": "node.started", "token": "{SECRET}", "before": {before!r}}}\n'.encode())
    if "/proxy/" in request.path:
        if request.path.endswith("readyz"):
            return Response(503, {"code": "not_ready"})
        return Response(200, {"page": request.path.rpartition("/proxy/")[2], "password": SECRET})
    if request.path == "/version":
        return Response(200, {"gitVersion": "v1.34.1"})
    if request.path == names.NODES.path(None, "n1"):
        return refusal(403, "Forbidden", "nodes is forbidden")
    return None


async def test_kubernetes_objects_logs_and_pages(tmp_path: Path) -> None:
    fake = FakeApiServer()
    fake.objects = {
        names.CLUSTERS.path("shop", "demo"): {"kind": "CollectionStoreCluster", "metadata": {"name": "demo"}},
        names.PODS.path("shop", "demo-0"): pod("demo-0", "shop", names.member_labels("demo"), "node", 2),
        names.PODS.path("ops", "op-1"): pod("op-1", "ops", {names.NAME_LABEL: names.OPERATOR}, "operator", 0),
    }
    fake.behave = respond
    manifest, files = await report_of(fake, tmp_path)
    assert json.loads(files["members/demo-0/raft.json"])["page"] == "debug/raft"
    assert json.loads(files["members/demo-0/readyz.json"]) == {"code": "not_ready"}
    assert {"members/demo-0/node.log", "members/demo-0/node.before.log", "operator/op-1/operator.log"} <= set(files)
    assert "operator/op-1/operator.before.log" not in files
    assert json.loads(files["operator/op-1/clusters.json"])["page"] == "debug/clusters"
    reasons = {one.path: one.reason for one in manifest.missing}
    assert "nodes is forbidden" in reasons["kubernetes/nodes.json"]
    assert "cluster/record.json" in reasons
    assert SECRET.encode() not in b"".join(files.values())
    # No Secret of Kubernetes is requested.
    assert not [request.path for request in fake.requests if "/secrets" in request.path]


async def test_item_that_may_not_be_read_is_listed_with_the_reason(tmp_path: Path) -> None:
    """With no permission but to list pods there is still a report."""
    fake = FakeApiServer()
    fake.behave = lambda request: (
        None if request.path == names.PODS.path("shop") else refusal(403, "Forbidden", "it is not allowed")
    )
    manifest, files = await report_of(fake, tmp_path)
    assert set(files) == {"kubernetes/nodes.json", "kubernetes/pods.json", MANIFEST}
    assert all("it is not allowed" in one.reason for one in manifest.missing)


async def test_nothing_at_all_is_an_error(tmp_path: Path) -> None:
    fake = FakeApiServer()
    fake.behave = lambda _request: refusal(403, "Forbidden", "no")
    with pytest.raises(ApiError):
        await report_of(fake, tmp_path)


async def test_lease_is_that_of_the_operator_s_pod(tmp_path: Path) -> None:
    """The chart names it after the release, and tells the operator by a variable."""
    operator = pod("op-1", "ops", {names.NAME_LABEL: names.OPERATOR}, "operator", 0)
    operator["spec"]["containers"][0]["env"] = [{"name": names.LEASE_VARIABLE, "value": "shop-operator"}]
    fake = FakeApiServer()
    fake.objects = {
        names.PODS.path("ops", "op-1"): operator,
        names.LEASES.path("ops", "shop-operator"): {"kind": "Lease", "metadata": {"name": "shop-operator"}},
    }
    _, files = await report_of(fake, tmp_path)
    assert json.loads(files["operator/lease.json"])["metadata"]["name"] == "shop-operator"


async def test_operators_are_found_in_all_namespaces(tmp_path: Path) -> None:
    """Each with its own Lease, so that they can be told apart."""
    fake = FakeApiServer()
    for namespace in ("a", "b"):
        body = pod(f"op-{namespace}", namespace, {names.NAME_LABEL: names.OPERATOR}, "operator", 0)
        lease = {"kind": "Lease", "metadata": {"name": names.OPERATOR, "namespace": namespace}}
        fake.objects |= {
            names.PODS.path(namespace, f"op-{namespace}"): body,
            names.LEASES.path(namespace, names.OPERATOR): lease,
        }
    fake.behave = respond
    _, files = await report_of(fake, tmp_path, operator_namespace=None)
    assert {"operator/op-a/operator.log", "operator/op-b/operator.log"} <= set(files)
    assert json.loads(files[f"operator/lease-b-{names.OPERATOR}.json"])["metadata"]["namespace"] == "b"


async def test_operator_is_looked_for_where_the_documentation_installs_it(tmp_path: Path) -> None:
    """By a user who may not list the pods of all namespaces."""
    fake, place = FakeApiServer(), names.OPERATOR_NAMESPACE
    fake.objects = {names.PODS.path(place, "op"): pod("op", place, {names.NAME_LABEL: names.OPERATOR}, "operator", 0)}
    fake.behave = lambda request: (
        refusal(403, "Forbidden", "pods is forbidden") if request.path == names.PODS.path(None) else respond(request)
    )
    _, files = await report_of(fake, tmp_path, operator_namespace=None)
    assert "operator/op/operator.log" in files
    documented = Path(__file__).parents[4] / "docs/start/kubernetes.md"
    assert f"--namespace {place} --create-namespace" in documented.read_text()
