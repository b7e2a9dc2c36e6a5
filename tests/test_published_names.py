"""The names that the client declares are those that the operator publishes: the client may not import it."""

from __future__ import annotations

import pytest

from collectionstore.kubernetes import names
from collectionstore.kubernetes.names import Resource
from collectionstore_operator.kubernetes.api.kinds import Kind
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import METRICS_PORT, Desired
from collectionstore_operator.settings import LEASE_NAME, OperatorSettings

KINDS = {kind.plural: kind for kind in Kind}
RESOURCES = {
    name: value
    for name, value in vars(names).items()
    # A client may know the resource of backups before the operator at hand has it.
    if isinstance(value, Resource) and (value.plural in KINDS or value is not names.BACKUPS)
}


@pytest.mark.parametrize("name", RESOURCES)
def test_resources_and_their_paths(name: str) -> None:
    """The path of an object, and that of a list."""
    resource = RESOURCES[name]
    kind = KINDS[resource.plural]
    assert resource.api_version == kind.api_version
    assert resource.path("shop", "a b") == kind.path("shop", "a b")
    assert resource.path("shop") == kind.path("shop")


def test_annotations_that_users_set() -> None:
    assert (names.REPLACE, names.RESTART, names.ROTATE_AUTHORITY) == (
        labels.REPLACE,
        labels.RESTART,
        labels.ROTATE_AUTHORITY,
    )
    assert names.CLUSTER_KIND == labels.KIND


def test_labels_and_object_names() -> None:
    assert names.member_labels("demo") == labels.selector("demo")
    assert names.read_replica_labels("demo").items() <= Desired(name="demo").reads().object_labels.items()
    assert names.record_name("demo") == labels.record("demo")
    assert names.NAME_LABEL == labels.NAME


def test_ports_and_the_lease() -> None:
    settings = OperatorSettings.from_environment({})
    assert names.METRICS_PORT == METRICS_PORT
    assert names.LEASE_VARIABLE == LEASE_NAME
    assert settings.lease == names.OPERATOR
    assert settings.health_port == names.OPERATOR_PORT
