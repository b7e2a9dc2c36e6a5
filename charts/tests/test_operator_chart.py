"""The operator's chart as Helm renders it: rights, scope, names, and what its pod is allowed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectionstore_charts.helm import CHARTS, OPERATOR, template
from collectionstore_operator import settings
from collectionstore_operator.kubernetes.api.permissions import NODES, OWN, PERMISSIONS, Permission, binding
from collectionstore_operator.manifests import networkpolicy
from collectionstore_operator.manifests.backups.archive import STATUS_PORT
from collectionstore_operator.resource.backups.names import pod_selector
from collectionstore_operator.resource.desired import CLIENT_PORT
from collectionstore_operator.resource.labels import selector
from collectionstore_testkit.tools.prometheus import promtool

Render = Callable[..., Any]
RULES = CHARTS.parent / "alerts" / "rules.yaml"
DASHBOARDS = CHARTS.parent / "dashboards"


@pytest.fixture
def render(objects: Any) -> Render:
    return lambda values=None, **further: objects(template(OPERATOR, values, **further))


def granted(rules: Iterable[dict[str, Any]]) -> set[tuple[str, str, str, str]]:
    """Return what rules grant, as (group, resource, verb, name)."""
    return {
        (group, resource, verb, name)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames", [""])
    }


def required(permissions: Iterable[Permission]) -> set[tuple[str, str, str, str]]:
    return {(one.group, one.resource, verb, one.name) for one in permissions for verb in one.verbs}


def test_the_operator_is_granted_what_it_checks_for_and_nothing_else(render: Render) -> None:
    rendered = render()
    assert granted(rendered.one("ClusterRole", "system:op-collectionstore-operator")["rules"]) == required(PERMISSIONS)
    assert granted(rendered.one("Role")["rules"]) == required(OWN)
    assert rendered.one("Role")["metadata"]["namespace"] == "system"
    bound = rendered.one("ClusterRoleBinding", "system:op-collectionstore-operator")
    account = {"kind": "ServiceAccount", "name": "op-collectionstore-operator", "namespace": "system"}
    assert bound["subjects"] == [account]
    assert rendered.one("RoleBinding")["subjects"] == [account]
    pod = rendered.one("Deployment")["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == rendered.one("ServiceAccount")["metadata"]["name"] == account["name"]


def test_with_namespaces_it_gets_a_role_in_each_and_cluster_wide_only_what_has_no_namespace(render: Render) -> None:
    rendered = render({"watchNamespaces": ["a", "b"]})
    roles = {one["metadata"]["namespace"]: granted(one["rules"]) for one in rendered.of("Role")}
    inside = required(one for one in PERMISSIONS if not one.everywhere)
    assert roles == {"a": inside, "b": inside, "system": required(OWN)}
    cluster_wide = granted(rendered.one("ClusterRole", "system:op-collectionstore-operator")["rules"])
    assert cluster_wide == required(one for one in PERMISSIONS if one.everywhere)
    for bound in rendered.of("RoleBinding"):
        assert bound["subjects"][0]["namespace"] == "system"
        assert bound["roleRef"]["name"] in {
            one["metadata"]["name"]
            for one in rendered.of("Role")
            if one["metadata"]["namespace"] == bound["metadata"]["namespace"]
        }


@pytest.mark.parametrize("namespaces", [[], ["a", "b"]])
def test_nobody_may_ask_for_certificates_before_the_operator_says_who(render: Render, namespaces: list[str]) -> None:
    """No group of accounts: the operator adds the account of each cluster, and may change this one binding only."""
    rendered = render({"watchNamespaces": namespaces})
    name = "system:op-collectionstore-operator:nodes"
    assert granted(rendered.one("ClusterRole", name)["rules"]) == required(NODES)
    nodes = rendered.one("ClusterRoleBinding", name)
    assert nodes["roleRef"]["name"] == name
    assert "subjects" not in nodes
    enrolment = rendered.one("ClusterRole", "system:op-collectionstore-operator:enrolment")
    assert granted(enrolment["rules"]) == required(binding(name))
    (subject,) = rendered.one("ClusterRoleBinding", "system:op-collectionstore-operator:enrolment")["subjects"]
    assert subject["name"] == "op-collectionstore-operator"
    (container,) = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value") for one in container["env"]}
    assert environment[settings.ENROLMENT_BINDING] == name
    # What it may bind it has itself, so that the API server does not ask for the verb `bind`.
    assert required(NODES) <= required(PERMISSIONS)


def test_no_rule_has_a_wildcard_and_none_may_grant_other_rights(render: Render) -> None:
    for role in [one for one in render() if one["kind"] in ("Role", "ClusterRole")]:
        for group, resource, verb, name in granted(role["rules"]):
            assert "*" not in (group, resource, verb)
            if group == "rbac.authorization.k8s.io":
                assert (resource, verb in ("get", "patch")) == ("clusterrolebindings", True)
                assert name == "system:op-collectionstore-operator:nodes"
            assert verb not in ("bind", "escalate", "impersonate")


def test_a_network_policy_covers_the_pod_and_its_port(render: Render) -> None:
    rendered = render()
    policy = rendered.one("NetworkPolicy")["spec"]
    assert policy["podSelector"] == rendered.one("Deployment")["spec"]["selector"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (container,) = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"]
    (ingress,) = policy["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": container["ports"][0]["containerPort"]}]
    dns, api_server, members, archives = policy["egress"]
    assert {(one["protocol"], one["port"]) for one in dns["ports"]} >= {("UDP", 53), ("TCP", 53)}
    assert {one["port"] for one in api_server["ports"]} == set(networkpolicy.API_SERVER_PORTS)
    (peer,) = members["to"]
    assert peer["podSelector"]["matchLabels"].items() <= selector("demo").items()
    (peer,) = archives["to"]
    assert peer["podSelector"]["matchLabels"].items() <= pod_selector("demo").items()
    assert [one["port"] for one in archives["ports"]] == [STATUS_PORT]
    assert [one["port"] for one in members["ports"]] == [CLIENT_PORT]
    # The members' policy names the operator by labels that its pods have, in whatever namespace and release.
    labels = rendered.one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert networkpolicy.OPERATOR.items() <= labels.items()
    assert not render({"networkPolicy.enabled": False}).of("NetworkPolicy")


def test_without_rbac_there_is_no_role_at_all(render: Render) -> None:
    kinds = {one["kind"] for one in render({"rbac.create": False})}
    policies = {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    assert kinds == {"CustomResourceDefinition", "ServiceAccount", "Deployment", "NetworkPolicy", *policies}


def test_whoever_may_edit_a_namespace_may_scale_its_clusters_but_not_write_their_status(render: Render) -> None:
    edit = render().one("ClusterRole", "system:op-collectionstore-operator:edit")
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    resources = {resource for _, resource, _, _ in granted(edit["rules"])}
    assert resources == {
        "collectionstoreclusters",
        "collectionstoreclusters/scale",
        "collectionstorebackups",
        "collectionstorebackupschedules",
    }
    assert len(render({"rbac.aggregate": False}).of("ClusterRole")) == 3


def test_the_pod_meets_the_restricted_standard(render: Render) -> None:
    pod = render().one("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    # Keys are written there for OpenSSL; in memory, so that none reaches a disk.
    assert container["volumeMounts"] == [{"name": "tmp", "mountPath": "/tmp"}]
    assert [one["emptyDir"]["medium"] for one in pod["volumes"]] == ["Memory"]


def test_the_operator_accepts_the_settings_it_is_given(render: Render) -> None:
    values = {"watchNamespaces": ["team-a", "team-b"], "logLevel": "debug"}
    (container,) = render(values).one("Deployment")["spec"]["template"]["spec"]["containers"]
    environment = {one["name"]: one.get("value", "from-the-pod") for one in container["env"]}
    chosen = settings.OperatorSettings.from_environment(environment)
    assert chosen.namespaces == ("team-a", "team-b")
    assert chosen.lease == "op-collectionstore-operator"
    assert chosen.own_namespace == chosen.identity == "from-the-pod"
    assert chosen.log_level == "debug"
    (port,) = container["ports"]
    assert chosen.health_port == port["containerPort"]
    for probe, path in (("livenessProbe", "/livez"), ("readinessProbe", "/readyz"), ("startupProbe", "/livez")):
        assert container[probe]["httpGet"] == {"path": path, "port": port["name"]}


def test_the_selector_is_what_no_upgrade_changes(render: Render) -> None:
    deployment = render({"commonLabels": {"team": "a"}, "podLabels": {"tier": "b"}}).one("Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert set(selector) == {
        "app.kubernetes.io/name",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/component",
    }
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= labels.items()
    assert labels["team"] == "a"
    assert labels["tier"] == "b"


def test_every_object_is_labelled(render: Render) -> None:
    values = {"commonLabels": {"team": "a"}, "podDisruptionBudget.enabled": True, "podMonitor.enabled": True}
    values |= {"prometheusRule.enabled": True, "dashboards.enabled": True}
    for one in render({**values, "watchNamespaces": ["x"]}):
        if one["kind"] != "CustomResourceDefinition":
            labels = one["metadata"]["labels"]
            assert labels["app.kubernetes.io/name"] == "collectionstore-operator"
            assert labels["app.kubernetes.io/instance"] == "op"
            assert labels["app.kubernetes.io/part-of"] == "collectionstore"
            assert labels["app.kubernetes.io/managed-by"] == "Helm"
            assert labels["team"] == "a"


def test_helm_never_deletes_the_definition(render: Render) -> None:
    definitions = render().of("CustomResourceDefinition")
    assert len(definitions) == 5
    for one in definitions:
        assert one["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert not render({"crds.install": False}).of("CustomResourceDefinition")


def test_installations_side_by_side_share_no_object(render: Render) -> None:
    def names(release: str, namespace: str) -> set[tuple[str, str, str]]:
        made = render({"watchNamespaces": [namespace], "crds.install": False}, release=release, namespace=namespace)
        return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]) for one in made}

    # Joined without a separator that no name may have, the first two would be the same.
    installed = [names("b-c", "a"), names("c", "a-b"), names("c", "a"), names("b-c", "a-b")]
    assert sum(map(len, installed)) == len(set().union(*installed))


def test_long_names_are_cut_to_what_kubernetes_takes(render: Render) -> None:
    for one in render({"watchNamespaces": ["n" * 63]}, release="r" * 53, namespace="s" * 63):
        long = ("Role", "CustomResourceDefinition", "AdmissionPolicy")
        limit = 253 if any(kind in one["kind"] for kind in long) else 63
        assert len(one["metadata"]["name"]) <= limit


@pytest.mark.parametrize(
    ("release", "values", "name"),
    [
        ("op", {}, "op-collectionstore-operator"),
        ("collectionstore-operator", {}, "collectionstore-operator"),
        ("op", {"nameOverride": "store"}, "op-store"),
        ("op", {"fullnameOverride": "store"}, "store"),
    ],
)
def test_names_follow_the_release(render: Render, release: str, values: dict[str, Any], name: str) -> None:
    assert render(values, release=release).one("Deployment")["metadata"]["name"] == name


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "collectionstore/operator:0.1.0"),
        ({"image.tag": "2"}, "collectionstore/operator:2"),
        (
            {"image.repository": "r:5000/x", "image.digest": f"sha256:{'a' * 64}", "image.tag": "2"},
            f"r:5000/x@sha256:{'a' * 64}",
        ),
    ],
)
def test_the_image_is_by_tag_or_by_digest(render: Render, values: dict[str, Any], image: str) -> None:
    (container,) = render(values).one("Deployment")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image


def test_an_operator_that_stands_by_is_spread_by_its_own_labels(render: Render) -> None:
    spread = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}]
    values = {"replicaCount": 2, "topologySpreadConstraints": spread, "podDisruptionBudget.enabled": True}
    rendered = render(values)
    deployment = rendered.one("Deployment")
    assert deployment["spec"]["replicas"] == 2
    selector = deployment["spec"]["selector"]
    (constraint,) = deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert constraint == {**spread[0], "labelSelector": selector}
    budget = rendered.one("PodDisruptionBudget")["spec"]
    assert budget == {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}


def test_a_pod_monitor_selects_the_pods_and_their_port(render: Render) -> None:
    rendered = render({"podMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}}})
    monitor, deployment = rendered.one("PodMonitor"), rendered.one("Deployment")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"] == deployment["spec"]["selector"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    relabelings = endpoint.pop("relabelings")
    expected = {"port": container["ports"][0]["name"], "path": "/metrics", "interval": "15s", "honorLabels": True}
    assert endpoint == expected
    assert {one["targetLabel"]: one.get("replacement") for one in relabelings} == {
        "instance": None,
        "job": "collectionstore-operator",
    }
    assert not render().of("PodMonitor")


def test_the_rules_are_those_of_the_repository(render: Render, tmp_path: Path) -> None:
    rendered = render({"prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}}})
    rule = rendered.one("PrometheusRule")
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == yaml.safe_load(RULES.read_text())
    written = tmp_path / "rules.yaml"
    written.write_text(yaml.safe_dump(rule["spec"]))
    subprocess.run([str(promtool()), "check", "rules", str(written)], check=True)
    assert not render().of("PrometheusRule")


def test_runbooks_are_where_people_read_them(render: Render) -> None:
    rendered = render({"prometheusRule": {"enabled": True, "runbooks": "https://wiki.example.com/runbooks/"}})
    rules = [rule for group in rendered.one("PrometheusRule")["spec"]["groups"] for rule in group["rules"]]
    alerts = [rule for rule in rules if "alert" in rule]
    assert alerts
    for rule in alerts:
        found = rule["annotations"]["runbook_url"]
        assert found == f"https://wiki.example.com/runbooks/{rule['alert']}.md"


def test_every_dashboard_is_a_labelled_config_map(render: Render) -> None:
    rendered = render({"dashboards": {"enabled": True, "annotations": {"grafana_folder": "Stores"}, "namespace": "g"}})
    found: dict[str, str] = {}
    for one in rendered.of("ConfigMap"):
        assert one["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert one["metadata"]["annotations"] == {"grafana_folder": "Stores"}
        assert one["metadata"]["namespace"] == "g"
        found |= one["data"]
    files = {f"collectionstore-{path.name}": json.loads(path.read_text()) for path in DASHBOARDS.glob("*.json")}
    assert {name: json.loads(text) for name, text in found.items()} == files
    assert files
    assert not render().of("ConfigMap")


def test_admission_policies_refuse_protected_deletions_and_are_bound(render: Render) -> None:
    rendered = render()
    policies = {one["metadata"]["name"]: one["spec"] for one in rendered.of("ValidatingAdmissionPolicy")}
    bindings = [one["spec"] for one in rendered.of("ValidatingAdmissionPolicyBinding")]
    assert {one["policyName"] for one in bindings} == set(policies)
    assert all(one["validationActions"] == ["Deny"] for one in bindings)
    clusters, namespaces = (
        policies[f"system.op-collectionstore-operator.{name}"]
        for name in ("protected-clusters", "protected-namespaces")
    )
    assert clusters["matchConstraints"]["resourceRules"][0]["resources"] == ["collectionstoreclusters"]
    assert "oldObject.spec.deletionProtection != true" in clusters["validations"][0]["expression"]
    # Other namespaces are not even looked at: a broken policy must not keep them from being deleted.
    assert namespaces["matchConstraints"]["objectSelector"]["matchLabels"] == {
        "collectionstore.io/deletion-protection": "true"
    }
    assert not render({"admissionPolicies": {"enabled": False}}).of("ValidatingAdmissionPolicy")


def test_admission_policies_are_for_the_watched_namespaces(render: Render) -> None:
    """Clusters of another installation are protected by it, or are not, as it was installed."""

    def selected(watched: list[str]) -> list[object]:
        bindings = render({"watchNamespaces": watched}).of("ValidatingAdmissionPolicyBinding")
        (clusters,) = [one["spec"] for one in bindings if one["metadata"]["name"].endswith("protected-clusters")]
        expressions: list[object] = (
            clusters.get("matchResources", {}).get("namespaceSelector", {}).get("matchExpressions", [])
        )
        return expressions

    assert selected([]) == []
    assert selected(["a", "b"]) == [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["a", "b"]}]
