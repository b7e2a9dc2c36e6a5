"""Manifests for server-side apply, with the metadata that all objects of a cluster have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec

from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

Body: TypeAlias = dict[str, Any]
"""JSON of an object or of a part of it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest of an object. `digest` covers the body without the annotation that contains it."""

    kind: str
    name: str
    body: Body
    digest: str


def manifest(
    desired: Desired,
    *,
    api_version: str,
    kind: str,
    name: str,
    spec: Body | None = None,
    content: Body | None = None,
    further_labels: Mapping[str, str] | None = None,
    further_annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Return a manifest with labels, owner reference and digest. `content` is for kinds without a spec."""
    object_labels = {**(further_labels or {}), **desired.object_labels}
    metadata: Body = {"name": name, "namespace": desired.namespace, "labels": object_labels}
    if desired.uid:
        metadata["ownerReferences"] = [_owner(desired)]
    if further_annotations:
        metadata["annotations"] = dict(further_annotations)
    body = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **(content or {"spec": spec})}
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]
    metadata["annotations"] = {**(further_annotations or {}), labels.DIGEST: digest}
    return Manifest(kind=kind, name=name, body=body, digest=digest)


def _owner(desired: Desired) -> Body:
    """Return the owner reference for garbage collection. Volumes get none, because they are data."""
    return {
        "apiVersion": labels.API_VERSION,
        "kind": labels.KIND,
        "name": desired.name,
        "uid": desired.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
