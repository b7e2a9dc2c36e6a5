"""The NetworkPolicy of backups: what their pods may reach. Only for clusters that have a policy themselves.

The policy of the cluster lets these pods in: one of its own, left behind, would keep all others out.
"""

from __future__ import annotations

from collectionstore_operator.manifests.backups.archive import STATUS_PORT
from collectionstore_operator.manifests.backups.work import OWNER, Work, owned
from collectionstore_operator.manifests.manifest import Body, Manifest
from collectionstore_operator.manifests.networkpolicy import DNS_PORTS, OPERATOR
from collectionstore_operator.manifests.store_ports import store_ports
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.desired import CLIENT_PORT, Desired


def policy_name(work: Work) -> str:
    """Return the name of the policy of the pods of one backup or schedule."""
    return names.job(work.name, work.uid, "pods")


def build_policy(work: Work) -> Manifest | None:
    """Return the policy; none for a cluster that is gone, or that has none itself."""
    cluster = work.cluster
    if cluster is None or cluster.spec.network_policy.mode != "Enabled":
        return None
    return _pods(work, cluster)


def _pods(work: Work, cluster: Desired) -> Manifest:
    """Return what the pods of one backup or schedule may reach, and that nothing but the operator reaches them."""
    egress: list[Body] = [
        {"to": [{"podSelector": {"matchLabels": labels.selector(cluster.name)}}], "ports": _ports(CLIENT_PORT)},
        {"ports": [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP") for port in DNS_PORTS]},
    ]
    if store := store_ports(work.repository):
        egress.append({"ports": _ports(*store)})
    operator = {"namespaceSelector": {}, "podSelector": {"matchLabels": dict(OPERATOR)}}
    spec = {
        "podSelector": {"matchLabels": {**names.pod_selector(cluster.name), OWNER: work.uid}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [operator], "ports": _ports(STATUS_PORT)}],
        "egress": egress,
    }
    api = "networking.k8s.io/v1"
    return owned(work, api_version=api, kind="NetworkPolicy", name=policy_name(work), spec=spec, annotations={})


def _ports(*numbers: int) -> list[Body]:
    return [{"protocol": "TCP", "port": number} for number in numbers]
