"""Settings of the pods: what reaches the template, what is never given up, and which pods restart for it."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.crd.transitions import USER
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.kubernetes import by_name
from collectionstore_operator.manifests import statefulset
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, PodTemplate, Storage, parse
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, make_desired


def parsed(spec: dict[str, Any]) -> Desired:
    """Return a resource as the API server would give it to the operator."""
    return parse(
        {
            "apiVersion": labels.API_VERSION,
            "kind": labels.KIND,
            "metadata": {"name": "demo", "namespace": "shop"},
            "spec": spec,
        }
    )


def errors(spec: dict[str, Any]) -> dict[str, str]:
    """Return the messages of an invalid resource by path."""
    with pytest.raises(InvalidResource) as found:
        parsed(spec)
    return {one.path: f"{one.message}; allowed: {one.allowed}" for one in found.value.errors}


def workload(desired: Desired) -> dict[str, Any]:
    """Return the spec of the StatefulSet."""
    found: dict[str, Any] = statefulset.build(desired, cluster_id=CLUSTER_ID, replicas=3).body["spec"]
    return found


def pod(desired: Desired) -> dict[str, Any]:
    """Return the spec of the pods."""
    found: dict[str, Any] = workload(desired)["template"]["spec"]
    return found


FROM = {
    "environment": [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "tracing", "key": "token", "optional": True}}},
        {"name": "ZONE", "valueFrom": {"configMapKeyRef": {"name": "site", "key": "zone"}}},
        {"name": "HOST", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "TEAM", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['team']"}}},
        {"name": "PLAIN", "value": ""},
    ]
}


def test_variables_come_from_secrets_config_maps_and_fields() -> None:
    desired = parsed({"pod": FROM})
    made = pod(desired)["containers"][0]["env"][-5:]
    assert made == FROM["environment"]
    assert statefulset.starts_as_required(workload(desired)["template"], desired)


def test_template_with_another_secret_does_not_start_as_required() -> None:
    """Also when only the source of a variable was changed, and with the defaults that the API server adds."""
    desired = parsed({"pod": FROM})
    template = workload(desired)["template"]
    env = template["spec"]["containers"][0]["env"]
    env[-3]["valueFrom"]["fieldRef"]["apiVersion"] = "v1"
    env[-1].pop("value")
    assert statefulset.starts_as_required(template, desired)
    env[-5]["valueFrom"]["secretKeyRef"]["name"] = "other"
    assert not statefulset.starts_as_required(template, desired)


@pytest.mark.parametrize(
    ("variable", "path", "message"),
    [
        (
            {"name": "A", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            ".valueFrom",
            "a variable has one value",
        ),
        ({"name": "A", "valueFrom": {}}, ".valueFrom.secretKeyRef", "a value comes from one place"),
        (
            {
                "name": "A",
                "valueFrom": {
                    "secretKeyRef": {"name": "a", "key": "b"},
                    "fieldRef": {"fieldPath": "metadata.name"},
                },
            },
            ".valueFrom.secretKeyRef",
            "a value comes from one place",
        ),
        ({"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}, ".valueFrom.fieldRef.fieldPath", "status."),
        ({"name": "A", "valueFrom": {"secretKeyRef": {"name": "a"}}}, ".valueFrom.secretKeyRef.key", "is required"),
        ({"name": "COLLECTIONSTORE_X", "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}}}, ".name", "derives"),
    ],
)
def test_variable_that_cannot_be_set_is_refused(variable: dict[str, Any], path: str, message: str) -> None:
    found = errors({"pod": {"environment": [variable]}})
    assert message in found[f"spec.pod.environment[0]{path}"]


def test_security_contexts_are_merged_over_the_safe_ones() -> None:
    """What the resource does not set stays, and nothing that protects is lost."""
    desired = parsed(
        {
            "pod": {
                "podSecurityContext": {
                    "runAsUser": 1000,
                    "fsGroup": 0,
                    "supplementalGroups": [5],
                    "seLinuxOptions": {"level": "s0:c1,c2"},
                },
                "securityContext": {
                    "privileged": False,
                    "capabilities": {"drop": ["NET_RAW"]},
                    "seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/node.json"},
                },
            }
        }
    )
    spec = pod(desired)
    assert spec["securityContext"] == {
        **statefulset.SAFE_POD,
        "runAsUser": 1000,
        "fsGroup": 0,
        "supplementalGroups": [5],
        "seLinuxOptions": {"level": "s0:c1,c2"},
    }
    assert spec["containers"][0]["securityContext"] == {
        **statefulset.SAFE_CONTAINER,
        "privileged": False,
        "seccompProfile": {"type": "Localhost", "localhostProfile": "profiles/node.json"},
    }


@pytest.mark.parametrize(
    ("settings", "path", "message"),
    [
        ({"securityContext": {"privileged": True}}, "securityContext.privileged", "take over its machine"),
        (
            {"securityContext": {"allowPrivilegeEscalation": True}},
            "securityContext.allowPrivilegeEscalation",
            "more rights",
        ),
        ({"securityContext": {"readOnlyRootFilesystem": False}}, "securityContext.readOnlyRootFilesystem", "volume"),
        ({"securityContext": {"runAsNonRoot": False}}, "securityContext.runAsNonRoot", "root"),
        ({"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}, "securityContext.capabilities.add", "none"),
        ({"podSecurityContext": {"runAsNonRoot": False}}, "podSecurityContext.runAsNonRoot", "root"),
        ({"podSecurityContext": {"runAsUser": 0}}, "podSecurityContext.runAsUser", "from 1 to"),
        (
            {"podSecurityContext": {"seccompProfile": {"type": "Unconfined"}}},
            "podSecurityContext.seccompProfile.type",
            "RuntimeDefault",
        ),
        (
            {"podSecurityContext": {"seccompProfile": {"type": "Localhost"}}},
            "podSecurityContext.seccompProfile.localhostProfile",
            "Localhost",
        ),
        ({"podSecurityContext": {"sysctls": []}}, "podSecurityContext.sysctls", "unknown field"),
        ({"terminationGracePeriodSeconds": 5}, "terminationGracePeriodSeconds", "from 10 to 3600"),
        ({"hostAliases": [{"ip": "10.0.0.1", "hostnames": []}]}, "hostAliases[0].hostnames", "from 1 to 16"),
        (
            {"topologySpreadConstraints": [{"topologyKey": "kubernetes.io/hostname"}]},
            "topologySpreadConstraints[0].topologyKey",
            "spec.spread",
        ),
        (
            {"topologySpreadConstraints": [{"topologyKey": "example.com/rack", "minDomains": 3}]},
            "topologySpreadConstraints[0].minDomains",
            "DoNotSchedule",
        ),
    ],
)
def test_unsafe_and_senseless_settings_are_refused(settings: dict[str, Any], path: str, message: str) -> None:
    assert message in errors({"pod": settings})[f"spec.pod.{path}"]


def test_further_settings_reach_the_pods_under_their_names() -> None:
    rack = {"topologyKey": "example.com/rack", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3}
    desired = parsed(
        {
            "pod": {
                "terminationGracePeriodSeconds": 120,
                "runtimeClassName": "gvisor",
                "schedulerName": "topology-aware",
                "hostAliases": [{"ip": "10.0.0.5", "hostnames": ["collector", "collector.local"]}],
                "topologySpreadConstraints": [rack],
            }
        }
    )
    spec = pod(desired)
    assert spec["terminationGracePeriodSeconds"] == 120
    assert (spec["runtimeClassName"], spec["schedulerName"]) == ("gvisor", "topology-aware")
    assert spec["hostAliases"] == [{"ip": "10.0.0.5", "hostnames": ["collector", "collector.local"]}]
    *usual, further = spec["topologySpreadConstraints"]
    assert usual == pod(make_desired(3))["topologySpreadConstraints"]
    assert further == {"maxSkew": 1, "labelSelector": {"matchLabels": labels.selector("demo")}, **rack}


@pytest.mark.parametrize(
    "settings",
    [
        {"terminationGracePeriodSeconds": 60},
        {"runtimeClassName": "gvisor"},
        {"podSecurityContext": {"runAsUser": 7}},
        {"securityContext": {"seLinuxOptions": {"type": "x"}}},
        {"environment": [FROM["environment"][0]]},
    ],
)
def test_setting_that_is_used_restarts_members(settings: dict[str, Any]) -> None:
    assert revision(parsed({"pod": settings})) != revision(parsed({}))


def test_revision_with_older_settings_is_that_of_the_operator_before() -> None:
    """The members of a cluster that has labels and variables must not restart for fields that it does not use."""
    older = {"labels": {"team": "shop"}, "environment": [{"name": "TZ", "value": "UTC"}]}
    assert revision(parsed({"pod": older})) == "d43c7e3441"
    assert revision(make_desired(3, pod=PodTemplate())) == revision(make_desired(3))


STORAGE = {"labels": {"team": "shop"}, "annotations": {"backup.example.com/policy": "daily"}}


def test_claims_get_labels_and_annotations_of_the_resource() -> None:
    desired = parsed({"storage": STORAGE})
    (claim,) = workload(desired)["volumeClaimTemplates"]
    assert claim["metadata"]["labels"] == {"team": "shop", **labels.object_labels("demo")}
    assert claim["metadata"]["annotations"] == {**STORAGE["annotations"], labels.CLUSTER_ID: CLUSTER_ID}
    assert revision(desired) == revision(parsed({})), "no member restarts for a label of its claim"
    plain = make_desired(3)
    assert (
        workload(plain)["volumeClaimTemplates"] == workload(make_desired(3, storage=Storage()))["volumeClaimTemplates"]
    )


@pytest.mark.parametrize("part", ["labels", "annotations"])
def test_claims_keep_what_is_the_operator_s(part: str) -> None:
    found = errors({"storage": {part: {"collectionstore.io/cluster-id": "x"}}})
    assert "set by the operator" in found[f"spec.storage.{part}"]


def test_claim_that_exists_lacks_what_was_added_to_the_resource() -> None:
    """So that it is labelled again; a label that is no longer asked for, and those of others, are none of ours."""
    claim = {"metadata": {"labels": {**labels.object_labels("demo"), "theirs": "x"}, "annotations": {"a": "b"}}}
    assert by_name.is_labelled_claim(claim, parsed({}))
    for part in ("labels", "annotations"):
        assert not by_name.is_labelled_claim(claim, parsed({"storage": {part: STORAGE[part]}}))
    claim["metadata"]["labels"] |= STORAGE["labels"]
    claim["metadata"]["annotations"] |= STORAGE["annotations"]
    assert by_name.is_labelled_claim(claim, parsed({"storage": STORAGE}))


def test_user_of_the_pods_is_that_of_the_files_of_the_volume() -> None:
    """The rule of the API server takes the operator's user where the resource names none."""
    assert f": {statefulset.USER})" in USER.cel
    assert pod(make_desired(3))["securityContext"]["runAsUser"] == statefulset.USER


def test_keys_of_a_secret_are_mounted_where_the_node_looks_for_them() -> None:
    """In the init container of a restore as well; another Secret restarts the members, and a value of it does not."""
    plain, sealed = parsed({}), parsed({"storage": {"encryption": {"secretName": "keys"}}})
    assert "encryption" not in str(pod(plain)).lower()
    (node,) = pod(sealed)["containers"]
    assert {one["name"]: one.get("value") for one in node["env"]}[
        "COLLECTIONSTORE_ENCRYPTION_KEYS_DIR"
    ] == statefulset.KEYS
    assert {"name": "encryption-keys", "mountPath": statefulset.KEYS, "readOnly": True} in node["volumeMounts"]
    volumes = {one["name"]: one for one in pod(sealed)["volumes"]}
    # Not optional: a member without its key would be a pod that never starts, and says nothing.
    assert volumes["encryption-keys"]["secret"] == {"secretName": "keys", "defaultMode": 0o440}
    assert (
        len({revision(one) for one in (plain, sealed, parsed({"storage": {"encryption": {"secretName": "k2"}}}))}) == 3
    )


def test_a_key_service_is_asked_over_https_or_in_the_pod() -> None:
    """And keys come from one place."""
    (node,) = pod(parsed({"storage": {"encryption": {"url": "https://kms.shop/v1"}}}))["containers"]
    assert {one["name"]: one.get("value") for one in node["env"]}[
        "COLLECTIONSTORE_ENCRYPTION_URL"
    ] == "https://kms.shop/v1"
    assert all(not one["name"].startswith("encryption") for one in node["volumeMounts"])
    for wrong in ({}, {"secretName": "a", "url": "https://b"}):
        assert "keys come from one place" in str(errors({"storage": {"encryption": wrong}}))
    assert "http on 127.0.0.1" in str(errors({"storage": {"encryption": {"url": "http://kms.shop/v1"}}}))
