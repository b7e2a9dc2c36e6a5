"""The user that scrapes the metrics of a cluster, and how a PodMonitor authenticates as it. Pure.

It is a CollectionStoreUser like any other: its token is in a Secret, is rotated, and has the role monitor alone.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.manifests.access.secret import TOKEN
from collectionstore_operator.manifests.manifest import Body, Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.access import names
from collectionstore_operator.resource.desired import Desired

ROLE: Final = "monitor"


def build(desired: Desired) -> Manifest:
    """Return the user; its Secret outlives no cluster, and nothing else may be done with its token."""
    return manifest(
        desired,
        api_version=labels.API_VERSION,
        kind=names.USER_KIND,
        name=names.monitor(desired.name),
        spec={"clusterName": desired.name, "roles": [ROLE]},
    )


def authorization(desired: Desired) -> Body:
    """Return the field of a PodMonitor's endpoint with which Prometheus sends the token."""
    secret = names.secret(names.monitor(desired.name))
    return {"authorization": {"type": "Bearer", "credentials": {"name": secret, "key": TOKEN}}}
