"""Whose an object is. The operator changes, uses and deletes only objects that belong to the cluster. Pure.

An object belongs to a cluster if our resource is among its owners, by uid: no name can prove that, since anybody may
take a name. What outlives the resource on purpose has no owner (record, keys, and whatever was orphaned by
`kubectl delete --cascade=orphan`): it belongs to the cluster if it has no controller and carries the operator's labels
with the name of the cluster. So people adopt an object by giving it these two labels and no owner.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.observed import ForeignObject
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired


def foreign(kind: str, body: Mapping[str, Any], desired: Desired) -> ForeignObject | None:
    """Return an object as a foreign one; None if it belongs to the cluster."""
    owner = _owner(body["metadata"], desired)
    return ForeignObject(kind=kind, name=body["metadata"]["name"], owner=owner) if owner else None


def require_ours(kind: str, body: Mapping[str, Any], desired: Desired) -> None:
    """Raise ActionRefused for an object that does not belong to the cluster."""
    found = foreign(kind, body, desired)
    if found is not None:
        raise ActionRefused(f"the {kind} {found.name} belongs to {found.owner}")


def preconditions(body: Mapping[str, Any]) -> dict[str, str]:
    """Return uid and version of an object that was read: what is sent with them changes no other state of it."""
    metadata = body["metadata"]
    return {"uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"]}


def _owner(metadata: Mapping[str, Any], desired: Desired) -> str:
    """Return whose an object is, in words; empty if it is ours."""
    owners = metadata.get("ownerReferences") or ()
    if desired.uid and any(one.get("uid") == desired.uid for one in owners):
        return ""
    controllers = [one for one in owners if one.get("controller")] or list(owners)
    if controllers:
        kind, name = controllers[0].get("kind", ""), controllers[0].get("name", "")
        earlier = kind == labels.KIND and name == desired.name
        return f"an earlier {kind} {name}, and is deleted with it" if earlier else f"the {kind} {name}"
    found = metadata.get("labels") or {}
    if (found.get(labels.MANAGED_BY), found.get(labels.CLUSTER)) == (labels.FIELD_MANAGER, desired.name):
        return ""
    writers = [one.get("manager", "") for one in metadata.get("managedFields") or () if not one.get("subresource")]
    return f"another owner (written by {', '.join(sorted({*writers} - {''}))})" if any(writers) else "another owner"
