"""The Service for clients: what the resource says of it, and nothing of it where it says nothing."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.manifests import services
from collectionstore_operator.manifests.node_environment import revision
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import parse


def resource(service: dict[str, Any] | None) -> dict[str, Any]:
    spec = {} if service is None else {"service": service}
    return {"apiVersion": labels.API_VERSION, "kind": labels.KIND, "metadata": {"name": "demo"}, "spec": spec}


def built(service: dict[str, Any] | None) -> dict[str, Any]:
    return services.client(parse(resource(service))).body


def test_balancer_has_what_the_resource_says() -> None:
    body = built(
        {
            "type": "LoadBalancer",
            "annotations": {"example.com/internal": "true"},
            "labels": {"team": "shop"},
            "externalTrafficPolicy": "Local",
            "loadBalancerSourceRanges": ["10.0.0.0/8", "fd00::/8"],
        }
    )
    assert body["spec"]["type"] == "LoadBalancer"
    assert body["spec"]["externalTrafficPolicy"] == "Local"
    assert body["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8", "fd00::/8"]
    assert body["metadata"]["annotations"]["example.com/internal"] == "true"
    assert body["metadata"]["labels"] == {"team": "shop", **labels.object_labels("demo")}


@pytest.mark.parametrize("service", [{}, {"type": "ClusterIP"}, {"annotations": {}, "labels": {}}])
def test_service_of_a_cluster_without_the_fields_is_what_it_was(service: dict[str, Any]) -> None:
    """Also its digest: an upgrade of the operator writes nothing."""
    assert built(service) == built(None)
    assert built(None)["metadata"]["annotations"] == {labels.DIGEST: "a69d79ab8440462e"}


def test_change_of_the_service_restarts_no_member() -> None:
    assert revision(parse(resource({"type": "NodePort"}))) == revision(parse(resource(None)))


def test_change_of_an_annotation_is_a_change_of_the_digest() -> None:
    """Or it would never be applied."""
    digests = {built({"annotations": {"a": value}})["metadata"]["annotations"][labels.DIGEST] for value in "xyz"}
    assert len(digests) == 3


@pytest.mark.parametrize(
    ("service", "path"),
    [
        ({"externalTrafficPolicy": "Local"}, "spec.service.externalTrafficPolicy"),
        ({"type": "NodePort", "loadBalancerSourceRanges": ["10.0.0.0/8"]}, "spec.service.loadBalancerSourceRanges"),
        ({"type": "LoadBalancer", "loadBalancerSourceRanges": ["ten"]}, "spec.service.loadBalancerSourceRanges[0]"),
        ({"type": "ExternalName"}, "spec.service.type"),
        ({"annotations": {labels.DIGEST: "x"}}, "spec.service.annotations"),
        ({"labels": {labels.INSTANCE: "other"}}, "spec.service.labels"),
        ({"clusterIP": "None"}, "spec.service.clusterIP"),
    ],
)
def test_wrong_service_is_refused(service: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidResource) as caught:
        parse(resource(service))
    assert [error.path for error in caught.value.errors] == [path]
