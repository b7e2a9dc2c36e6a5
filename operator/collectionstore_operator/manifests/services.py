"""Two Services: one that balances clients over ready members, one that names every member for its peers."""

from __future__ import annotations

from collectionstore_operator.manifests.manifest import Body, Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import CLIENT_PORT, METRICS_PORT, PEER_PORT, Desired


def client(desired: Desired) -> Manifest:
    """Return the Service for clients; every ready member serves all requests, so any will do."""
    spec = {"type": "ClusterIP", "selector": labels.selector(desired.name), "ports": [_port("client", CLIENT_PORT)]}
    return manifest(desired, api_version="v1", kind="Service", name=labels.client_service(desired.name), spec=spec)


def peers(desired: Desired) -> Manifest:
    """Return the headless Service that gives each member a name.

    Members that are not ready are published too: readiness is a linearizable read, and after the loss of the quorum
    they could not find each other to regain it.
    """
    ports = [_port("client", CLIENT_PORT), _port("peer", PEER_PORT), _port("metrics", METRICS_PORT)]
    spec = {
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": labels.selector(desired.name),
        "ports": ports,
    }
    return manifest(desired, api_version="v1", kind="Service", name=labels.peer_service(desired.name), spec=spec)


def _port(name: str, number: int) -> Body:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}
