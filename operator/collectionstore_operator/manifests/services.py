"""Two Services: one for clients, and a headless one that gives each member a DNS name."""

from __future__ import annotations

from collectionstore_operator.manifests.manifest import Body, Manifest, manifest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import CLIENT_PORT, METRICS_PORT, PEER_PORT, Desired
from collectionstore_operator.resource.service import Service


def client(desired: Desired) -> Manifest:
    """Return the Service for clients: every ready member of the group serves all requests."""
    # Of the voters alone: two load balancers would share one name, or one address.
    wanted = (desired.spec.service if desired.group == "voters" else None) or Service()
    spec: Body = {
        "type": wanted.effective_type,
        "selector": labels.selector(desired.workload),
        "ports": [_port("client", CLIENT_PORT)],
    }
    if wanted.external_traffic_policy is not None:
        spec["externalTrafficPolicy"] = wanted.external_traffic_policy
    if wanted.load_balancer_source_ranges:
        spec["loadBalancerSourceRanges"] = list(wanted.load_balancer_source_ranges)
    return manifest(
        desired,
        api_version="v1",
        kind="Service",
        name=labels.client_service(desired.workload),
        spec=spec,
        further_labels=wanted.labels,
        further_annotations=wanted.annotations,
    )


def peers(desired: Desired) -> Manifest:
    """Return the headless Service that gives each member a DNS name.

    Unready members are published, too: readiness is a linearizable read, so after a loss of quorum the members could
    not resolve each other to restore it.
    """
    ports = [_port("client", CLIENT_PORT), _port("peer", PEER_PORT), _port("metrics", METRICS_PORT)]
    spec = {
        "type": "ClusterIP",
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": labels.selector(desired.workload),
        "ports": ports,
    }
    return manifest(desired, api_version="v1", kind="Service", name=labels.peer_service(desired.workload), spec=spec)


def _port(name: str, number: int) -> Body:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP"}
