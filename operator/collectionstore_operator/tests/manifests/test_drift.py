"""Drift by content: what is ours is compared field by field, what is not ours is left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from collectionstore_operator.manifests import (
    drift,
    managed_fields,
    networkpolicy,
    poddisruptionbudget,
    serviceaccount,
    services,
)
from collectionstore_operator.manifests.manifest import Manifest
from collectionstore_operator.manifests.statefulset import IMMUTABLE, build
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Resources, Spec

DESIRED = Desired(name="demo", namespace="shop", uid="u1")
WORKLOAD = build(DESIRED, cluster_id="c1", replicas=3)


def stored(manifest: Manifest) -> dict[str, Any]:
    """Return an object as the API server stores it after our apply, with its defaults."""
    body = copy.deepcopy(manifest.body)
    ours = {"manager": labels.FIELD_MANAGER, "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    status = {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status", "fieldsV1": {}}
    body["metadata"] |= {"uid": "x", "resourceVersion": "1", "managedFields": [ours, status]}
    match manifest.kind:
        case "Service":
            body["spec"] |= {"sessionAffinity": "None", "ipFamilies": ["IPv4"], "clusterIPs": ["10.0.0.1"]}
        case "StatefulSet":
            body["spec"] |= {"revisionHistoryLimit": 10}
            pod = body["spec"]["template"]["spec"]
            pod |= {"dnsPolicy": "ClusterFirst", "restartPolicy": "Always"}
            pod["containers"][0]["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
            pod["volumes"][0]["configMap"]["defaultMode"] = 420
    return body


def changed_by(body: dict[str, Any], manager: str, fields: dict[str, Any]) -> None:
    """Record that another manager has set these fields."""
    entry = {"manager": manager, "operation": "Update", "fieldsV1": fields}
    body["metadata"]["managedFields"].append(entry)


EVERY = (
    WORKLOAD,
    services.client(DESIRED),
    services.peers(DESIRED),
    serviceaccount.build(DESIRED),
    poddisruptionbudget.build(DESIRED, disruptions=1),
    networkpolicy.build(DESIRED),
)


@pytest.mark.parametrize("manifest", EVERY, ids=lambda one: f"{one.kind} {one.name}")
def test_what_the_api_server_adds_is_no_drift(manifest: Manifest) -> None:
    assert drift.differences(manifest.body, stored(manifest)) == ()


def test_selector_that_somebody_repointed_is_named_with_its_author() -> None:
    service = services.client(DESIRED)
    live = stored(service)
    live["spec"]["selector"] |= {labels.INSTANCE: "other", "tier": "x"}
    changed_by(live, "kubectl-patch", {"f:spec": {"f:selector": {}}})
    found = drift.differences(service.body, live)
    assert [(one.shown, one.extra, one.by) for one in found] == [
        (f"spec.selector.{labels.INSTANCE}", False, "kubectl-patch"),
        ("spec.selector.tier", True, "kubectl-patch"),
    ]
    assert drift.described(found).startswith(f"spec.selector.{labels.INSTANCE} was changed by kubectl-patch; ")
    cleaned = drift.without_additions(live, found)
    assert cleaned is not None
    assert "tier" not in cleaned["spec"]["selector"]


def test_variable_that_somebody_added_is_removed() -> None:
    """`kubectl set env` makes an item of its own, which an apply leaves alone."""
    live = stored(WORKLOAD)
    environment = live["spec"]["template"]["spec"]["containers"][0]["env"]
    before = copy.deepcopy(environment)
    environment.insert(1, {"name": "DEBUG", "value": "1"})
    container: dict[str, Any] = {
        'k:{"name":"node"}': {"f:env": {'k:{"name":"DEBUG"}': {".": {}, "f:name": {}, "f:value": {}}}}
    }
    changed_by(live, "kubectl-set", {"f:spec": {"f:template": {"f:spec": {"f:containers": container}}}})
    (found,) = drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE)
    assert found.shown == "spec.template.spec.containers[node].env[DEBUG]"
    assert (found.extra, found.by) == (True, "kubectl-set")
    cleaned = drift.without_additions(live, [found])
    assert cleaned is not None
    assert cleaned["spec"]["template"]["spec"]["containers"][0]["env"] == before


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda pod: pod["containers"][0].update(image="evil"), "spec.template.spec.containers[node].image"),
        (lambda pod: pod["containers"][0]["env"].pop(), "spec.template.spec.containers[node].env["),
        (lambda pod: pod["containers"][0]["ports"].pop(), "spec.template.spec.containers[node].ports[metrics]"),
        (lambda pod: pod["containers"].append({"name": "spy", "image": "x"}), "spec.template.spec.containers[spy]"),
        (lambda pod: pod["volumes"].append({"name": "host"}), "spec.template.spec.volumes[host]"),
        (lambda pod: pod["securityContext"].update(runAsUser=0), "spec.template.spec.securityContext.runAsUser"),
        (lambda pod: pod["containers"][0]["resources"].update(limits={"memory": "9Gi"}), "spec.template.spec."),
        (lambda pod: pod["containers"][0]["resources"]["limits"].update(cpu="1"), "spec.template.spec."),
    ],
)
def test_template_is_ours_as_a_whole(change: Any, shown: str) -> None:
    """Without managed fields too: what a list or a map of ours has beyond the manifest was added by somebody."""
    live = stored(WORKLOAD)
    live["metadata"].pop("managedFields")
    change(live["spec"]["template"]["spec"])
    (found,) = drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE)
    assert found.shown.startswith(shown)


def test_pod_template_labels_and_annotations_are_ours() -> None:
    live = stored(WORKLOAD)
    live["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "now"
    (found,) = drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE)
    assert found.extra


def test_field_that_no_manifest_mentions_is_removed_only_if_somebody_set_it() -> None:
    service = services.client(DESIRED)
    live = stored(service)
    live["spec"]["externalIPs"] = ["192.0.2.1"]
    assert drift.differences(service.body, live) == ()
    changed_by(live, "kubectl-edit", {"f:spec": {"f:externalIPs": {}}})
    (found,) = drift.differences(service.body, live)
    assert (found.shown, found.extra, found.by) == ("spec.externalIPs", True, "kubectl-edit")


def test_what_was_added_while_we_wrote_is_not_of_others() -> None:
    """The API server lists the defaults of an object under the manager that created it; admission adds as us, too."""
    service = services.client(DESIRED)
    live = stored(service)
    live["spec"]["internalTrafficPolicy"] = "Cluster"
    changed_by(live, labels.FIELD_MANAGER, {"f:spec": {"f:internalTrafficPolicy": {}}})
    assert drift.differences(service.body, live) == ()


def test_metadata_and_fields_of_others_are_left_alone() -> None:
    """Labels, annotations, finalizers and owners that others add, and what controllers keep in a ServiceAccount."""
    account = serviceaccount.build(DESIRED)
    live = stored(account)
    live |= {"imagePullSecrets": [{"name": "registry"}], "secrets": [{"name": "token"}]}
    live["metadata"]["labels"]["team"] = "a"
    live["metadata"]["annotations"]["note"] = "b"
    live["metadata"]["finalizers"] = ["x/y"]
    live["metadata"]["ownerReferences"].append({"kind": "ConfigMap", "name": "y", "uid": "u9"})
    changed_by(live, "somebody", {"f:imagePullSecrets": {}, "f:metadata": {"f:labels": {"f:team": {}}}})
    assert drift.differences(account.body, live) == ()


@pytest.mark.parametrize("key", [labels.CLUSTER, labels.MANAGED_BY, labels.INSTANCE])
def test_our_labels_are_restored(key: str) -> None:
    budget = poddisruptionbudget.build(DESIRED, disruptions=1)
    for change in ("removed", "changed"):
        live = stored(budget)
        if change == "removed":
            del live["metadata"]["labels"][key]
        else:
            live["metadata"]["labels"][key] = "x"
        (found,) = drift.differences(budget.body, live)
        assert found.shown == f"metadata.labels.{key}"
        assert not found.extra


def test_budget_of_another_value_and_a_removed_owner_are_drift() -> None:
    budget = poddisruptionbudget.build(DESIRED, disruptions=1)
    live = stored(budget)
    live["spec"]["maxUnavailable"] = 3
    live["metadata"]["ownerReferences"] = []
    assert [one.shown for one in drift.differences(budget.body, live)] == [
        "metadata.ownerReferences",
        "spec.maxUnavailable",
    ]


def test_quantities_are_compared_by_value() -> None:
    resources = Resources(requests={"cpu": "1000m", "memory": "1024Mi"}, limits={"cpu": 2, "memory": "1Gi"})
    manifest = build(Desired(name="demo", uid="u1", spec=Spec(resources=resources)), cluster_id="c1", replicas=3)
    live = stored(manifest)
    shown = live["spec"]["template"]["spec"]["containers"][0]["resources"]
    shown |= {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1073741824"}}
    assert drift.differences(manifest.body, live, ignored=IMMUTABLE) == ()
    shown["limits"]["cpu"] = "2100m"
    assert len(drift.differences(manifest.body, live, ignored=IMMUTABLE)) == 1


def test_what_cannot_be_changed_is_judged_elsewhere() -> None:
    live = stored(WORKLOAD)
    live["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "1Gi"
    assert drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE) == ()


def test_what_admission_makes_of_our_apply_is_no_drift_until_it_changes() -> None:
    """Otherwise operator and admission would write against each other for ever."""
    live = stored(WORKLOAD)
    container = live["spec"]["template"]["spec"]["containers"][0]
    container["image"] = "mirror/collectionstore/node:0.1.0"
    (found,) = drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE)
    admitted = {found.shown: found.value}
    assert drift.differences(WORKLOAD.body, live, admitted=admitted, ignored=IMMUTABLE) == ()
    container["image"] = "evil"
    assert len(drift.differences(WORKLOAD.body, live, admitted=admitted, ignored=IMMUTABLE)) == 1


def test_message_names_three_fields_and_counts_the_others() -> None:
    live = stored(services.peers(DESIRED))
    live["spec"]["selector"] |= {name: "x" for name in "abcde"}
    text = drift.described(drift.differences(services.peers(DESIRED).body, live))
    assert text.endswith("; 2 more")


def applied(live: dict[str, Any], pod: dict[str, Any], operation: str = "Apply") -> None:
    """Have ours set what is in the pod template."""
    fields = {"f:spec": {"f:template": {"f:spec": pod}}}
    entry = {"manager": labels.FIELD_MANAGER, "operation": operation, "fieldsV1": fields}
    live["metadata"]["managedFields"] = [entry]


PREPARATION: dict[str, Any] = {
    "f:initContainers": {'k:{"name":"restore"}': {".": {}, "f:name": {}}},
    "f:volumes": {'k:{"name":"key"}': {".": {}, "f:name": {}, "f:secret": {}}},
}


def prepared(operation: str = "Apply") -> dict[str, Any]:
    """Return a StatefulSet with our init container and its volume, which the manifest has no more."""
    live = stored(WORKLOAD)
    pod = live["spec"]["template"]["spec"]
    pod["initContainers"] = [{"name": "restore", "volumeMounts": [{"name": "key", "mountPath": "/key"}]}]
    pod["volumes"].append({"name": "key", "secret": {"secretName": "key"}})
    applied(live, PREPARATION, operation)
    return live


def test_what_our_own_apply_removes_is_left_to_it() -> None:
    """A volume goes with the init container that mounts it; removed before, the StatefulSet would be invalid."""
    live = prepared()
    found = drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE)
    assert [one.shown for one in found] == ["spec.template.spec.volumes[key]"]
    assert drift.without_additions(live, found) is None


def test_addition_of_another_one_is_removed_and_ours_stays_beside_it() -> None:
    live = prepared()
    pod = live["spec"]["template"]["spec"]
    pod["volumes"].append({"name": "spy", "emptyDir": {}})
    spy: dict[str, Any] = {"f:volumes": {'k:{"name":"spy"}': {".": {}, "f:name": {}}}}
    changed_by(live, "kubectl-edit", {"f:spec": {"f:template": {"f:spec": spy}}})
    cleaned = drift.without_additions(live, drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE))
    assert cleaned is not None
    names = [one["name"] for one in cleaned["spec"]["template"]["spec"]["volumes"]]
    assert "spy" not in names
    assert "key" in names
    assert cleaned["spec"]["template"]["spec"]["initContainers"] == pod["initContainers"]


def test_what_others_share_with_us_is_removed() -> None:
    """Our apply would give up our part and leave theirs."""
    live = prepared()
    shared: dict[str, Any] = {"f:volumes": PREPARATION["f:volumes"]}
    changed_by(live, "kubectl-edit", {"f:spec": {"f:template": {"f:spec": shared}}})
    cleaned = drift.without_additions(live, drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE))
    assert cleaned is not None
    assert "key" not in [one["name"] for one in cleaned["spec"]["template"]["spec"]["volumes"]]


def test_what_an_update_of_ours_has_set_is_no_apply_s() -> None:
    """An apply does not remove it; whose it is is made clear before (`managed_fields.as_applied`)."""
    live = prepared("Update")
    assert drift.without_additions(live, drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE)) is not None
    live["metadata"]["managedFields"] = managed_fields.as_applied(live)
    assert drift.without_additions(live, drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE)) is None


def test_second_item_of_a_name_is_removed_whosever_the_name_is() -> None:
    live = stored(WORKLOAD)
    environment = live["spec"]["template"]["spec"]["containers"][0]["env"]
    environment.append({"name": environment[3]["name"], "value": "theirs"})
    names: dict[str, Any] = {f'k:{{"name":"{one["name"]}"}}': {".": {}, "f:name": {}} for one in environment}
    applied(live, {"f:containers": {'k:{"name":"node"}': {".": {}, "f:env": names}}})
    found = drift.differences(WORKLOAD.body, live, ignored=IMMUTABLE)
    assert drift.without_additions(live, [one for one in found if one.extra]) is not None
