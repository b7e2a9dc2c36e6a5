"""The ServiceAccount of the pods. Its only permission is to create CertificateSigningRequests."""

from __future__ import annotations

from collectionstore_operator.manifests.manifest import Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired


def build(desired: Desired) -> Manifest:
    """Return the ServiceAccount. The pod mounts its token explicitly, with a path and an expiry."""
    return manifest(
        desired,
        api_version="v1",
        kind="ServiceAccount",
        name=labels.service_account(desired.name),
        content={"automountServiceAccountToken": False},
    )
