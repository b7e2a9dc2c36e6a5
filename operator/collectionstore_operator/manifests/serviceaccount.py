"""The account that pods run under; all it may do is to ask for a certificate."""

from __future__ import annotations

from collectionstore_operator.manifests.manifest import Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired


def build(desired: Desired) -> Manifest:
    """Return the account. Its token is not mounted by itself: the pod names where and for how long."""
    return manifest(
        desired,
        api_version="v1",
        kind="ServiceAccount",
        name=labels.service_account(desired.name),
        content={"automountServiceAccountToken": False},
    )
