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


def scraping(desired: Desired) -> Body:
    """Return the fields of a PodMonitor's endpoint with which Prometheus verifies a member and sends the token.

    Every member's certificate has the name of the Service for clients, which stands for that of the pod here:
    Prometheus reaches pods by their addresses, which no certificate has.
    """
    secret = names.secret(names.monitor(desired.name))
    service = f"{labels.client_service(desired.workload)}.{desired.namespace}.svc"
    return {
        "scheme": "https",
        "tlsConfig": {
            "ca": {"configMap": {"name": labels.record(desired.name), "key": "ca.crt"}},
            "serverName": service,
        },
        "authorization": {"type": "Bearer", "credentials": {"name": secret, "key": TOKEN}},
    }
