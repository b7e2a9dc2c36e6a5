"""The NetworkPolicy of the members: who may reach which port, and what members may reach.

Policies only add up: in a namespace that denies everything this one is all that a cluster needs, and what else a pod
needs, another policy can allow. Probes of the kubelet come from the machine, which network plugins always allow.
Source: Kubernetes docs, "Network Policies".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from collectionstore_operator.manifests.manifest import Body, Manifest, manifest
from collectionstore_operator.manifests.store_ports import store_ports
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names as backup_names
from collectionstore_operator.resource.bootstrap import Restore, Source
from collectionstore_operator.resource.desired import CLIENT_PORT, METRICS_PORT, PEER_PORT, Desired, NetworkPeers

DNS_PORTS: Final = (53, 5353)
"""Policies see the address of the pod that answers: the DNS pods of OpenShift listen on 5353."""
API_SERVER_PORTS: Final = (443, 6443, 8443, 16443)
"""Of the API server itself, behind its Service: usual ports of managed clouds, kubeadm, k3s, minikube and microk8s. It
runs on no pod network, so no selector can name it."""
OPERATOR: Final = {labels.COMPONENT: "operator", "app.kubernetes.io/part-of": "collectionstore"}
"""Labels that the chart gives to the operator's pods; it can run in any namespace."""

_TRACES: Final = re.compile(r"OTEL_EXPORTER_OTLP(_[A-Z]+)?_ENDPOINT")


def build(desired: Desired, restore: Source | None = None) -> Manifest:
    """Return the policy; `restore` is what the first member is being made of, whatever the spec says by now."""
    spec = {
        "podSelector": {"matchLabels": labels.selector(desired.workload)},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": _ingress(desired),
        "egress": _egress(desired, restore),
    }
    name = labels.network_policy(desired.workload)
    return manifest(desired, api_version="networking.k8s.io/v1", kind="NetworkPolicy", name=name, spec=spec)


def _ingress(desired: Desired) -> list[Body]:
    access, members = desired.spec.network_policy, _members(desired)
    operator = {"namespaceSelector": {}, "podSelector": {"matchLabels": dict(OPERATOR)}}
    clients: Body = {"ports": _ports(CLIENT_PORT)}
    if access.clients:
        backups = {"podSelector": {"matchLabels": backup_names.pod_selector(desired.name)}}
        clients["from"] = [*members, operator, backups, *(_peers(one) for one in access.clients)]
    monitoring = [_peers(one) for one in access.monitoring] or [{"namespaceSelector": {}}]
    return [
        {"from": members, "ports": _ports(PEER_PORT)},
        clients,
        {"from": monitoring, "ports": _ports(METRICS_PORT)},
    ]


def _egress(desired: Desired, restore: Source | None) -> list[Body]:
    """Return what members may reach: each other, DNS, the API server for certificates, and collectors of traces."""
    names = [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP") for port in DNS_PORTS]
    return [
        {"to": _members(desired), "ports": _ports(PEER_PORT, CLIENT_PORT)},
        {"ports": names},
        {"ports": _ports(*sorted({*API_SERVER_PORTS, *_collectors(desired), *_stores(desired, restore)}))},
    ]


def _collectors(desired: Desired) -> Iterable[int]:
    """Yield the ports of the collectors that the environment of the pods names."""
    for variable in desired.spec.pod.environment:
        if _TRACES.fullmatch(variable.name):
            try:
                port = urlsplit(variable.value).port
            except ValueError:
                continue  # the node reports an invalid URL; it can reach nothing with it
            if port is not None:
                yield port


def _stores(desired: Desired, restore: Source | None) -> Iterable[int]:
    """Yield the ports of the stores of the backups to restore, as long as the spec or the record names them."""
    for one in (desired.spec.beginning, desired.spec.restore, restore):
        if isinstance(one, Restore):
            yield from store_ports(one.repository)


def _members(desired: Desired) -> list[Body]:
    """Return the pods of all members: those that vote, and read replicas if there may be any."""
    workloads = [desired.name]
    if desired.group == "reads" or desired.spec.has_read_replicas:
        workloads.append(labels.read_workload(desired.name))
    return [{"podSelector": {"matchLabels": labels.selector(one)}} for one in workloads]


def _peers(peers: NetworkPeers) -> Body:
    return {
        "namespaceSelector": {"matchLabels": dict(peers.namespace_labels)} if peers.namespace_labels else {},
        "podSelector": {"matchLabels": dict(peers.pod_labels)} if peers.pod_labels else {},
    }


def _ports(*numbers: int) -> list[Body]:
    return [{"protocol": "TCP", "port": number} for number in numbers]
