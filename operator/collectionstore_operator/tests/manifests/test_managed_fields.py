"""What the creation of an object has set becomes what an apply has set, so that a later apply can remove it."""

from __future__ import annotations

from typing import Any

from collectionstore_operator.manifests import managed_fields
from collectionstore_operator.resource import labels


def entry(operation: str, fields: dict[str, Any], manager: str = labels.FIELD_MANAGER, **more: str) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **more}


def live(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"managedFields": list(entries)}}


def test_created_object_is_as_if_applied() -> None:
    other = entry("Update", {"f:spec": {"f:x": {}}}, manager="kubectl")
    status = entry("Update", {"f:status": {}}, subresource="status")
    found = managed_fields.as_applied(live(entry("Update", {"f:spec": {"f:a": {}}}), other, status))
    assert found == [entry("Apply", {"f:spec": {"f:a": {}}}), other, status]


def test_both_operations_are_united() -> None:
    created, applied = entry("Update", {"f:spec": {"f:a": {}, "f:b": {}}}), entry("Apply", {"f:spec": {"f:c": {}}})
    found = managed_fields.as_applied(live(created, applied))
    assert found == [entry("Apply", {"f:spec": {"f:a": {}, "f:b": {}, "f:c": {}}})]


def test_applied_object_stays_as_it_is() -> None:
    assert managed_fields.as_applied(live(entry("Apply", {"f:spec": {}}))) is None
    assert managed_fields.as_applied(live()) is None
    assert managed_fields.as_applied({}) is None
