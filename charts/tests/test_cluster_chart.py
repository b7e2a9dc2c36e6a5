"""The cluster's chart as Helm renders it: one resource that says what the values say, and its test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from collectionstore_charts.helm import CLUSTER, HelmFailed, template
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import parse

Render = Callable[..., Any]


@pytest.fixture
def render(objects: Any) -> Render:
    return lambda values=None, **further: objects(template(CLUSTER, values, **further))


def test_by_default_it_says_only_what_is_not_the_definitions_default(render: Render) -> None:
    resource = render(release="demo").one("CollectionStoreCluster")
    assert resource["apiVersion"] == labels.API_VERSION
    assert resource["metadata"]["name"] == "demo"
    assert resource["spec"] == {"replicas": 3, "storage": {"size": "10Gi"}}


@pytest.mark.parametrize("path", sorted((CLUSTER / "ci").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_operator_understands_what_the_values_say(render: Render, path: Any) -> None:
    values = yaml.safe_load(path.read_text())
    resource = render(files=(path,), release="demo").one("CollectionStoreCluster")
    for field, value in values.items():
        if field in ("labels", "annotations"):
            assert value.items() <= resource["metadata"][field].items()
        elif field not in ("fullnameOverride", "test"):
            assert resource["spec"][field] == value
    resource["metadata"] |= {"uid": "u", "generation": 1}
    desired = parse(resource)
    assert desired.spec.replicas == values.get("replicas", 3)


def test_large_numbers_stay_numbers(render: Render) -> None:
    resource = render({"snapshot": {"logBytes": 16 << 30}}).one("CollectionStoreCluster")
    assert resource["spec"]["snapshot"] == {"logBytes": 16 << 30}


def test_the_test_uses_the_service_and_the_authority_that_the_operator_makes(render: Render) -> None:
    pod = render({"fullnameOverride": "orders"}, release="x", namespace="shop").one("Pod")
    (container,) = pod["spec"]["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    assert environment["SERVICE"] == f"{labels.client_service('orders')}.shop.svc:7400"
    trust = next(one for one in pod["spec"]["volumes"] if one["name"] == "trust")
    assert trust["configMap"]["name"] == labels.record("orders")
    mounted = next(one["mountPath"] for one in container["volumeMounts"] if one["name"] == "trust")
    assert environment["TRUST"] == f"{mounted}/ca.crt"


def test_the_test_is_no_member_and_meets_the_restricted_standard(render: Render) -> None:
    rendered = render(release="demo")
    pod = rendered.one("Pod")
    assert not labels.selector("demo").items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
    assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["spec"]["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    for one in (pod, rendered.one("ConfigMap")):
        assert one["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert one["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "collectionstore/node:0.1.0"),
        ({"version": "0.2.0"}, "collectionstore/node:0.2.0"),
        ({"version": "0.2.0", "image": "r/x:1"}, "r/x:1"),
        ({"image": "r/x:1", "test.image": "r/python:3"}, "r/python:3"),
    ],
)
def test_the_test_runs_in_the_members_image(render: Render, values: dict[str, Any], image: str) -> None:
    assert render(values).one("Pod")["spec"]["containers"][0]["image"] == image


def test_without_a_version_its_image_is_the_one_the_operator_takes(render: Render) -> None:
    rendered = render(release="demo")
    resource = rendered.one("CollectionStoreCluster")
    resource["metadata"] |= {"uid": "u", "generation": 1}
    image = parse(resource).spec.effective_image
    assert rendered.one("Pod")["spec"]["containers"][0]["image"] == image


@pytest.mark.parametrize("name", ["9a", "a" * 41, "a.b"])
def test_a_name_that_no_cluster_may_have_is_refused_with_what_may_be(render: Render, name: str) -> None:
    with pytest.raises(HelmFailed, match="at most 40 of a-z, 0-9 and '-'"):
        render(release=name)
