"""The NetworkPolicies of backups: what their pods may reach. Only for clusters that have a policy themselves.

The policy of the cluster lets these pods in: one of its own, left behind, would keep all others out.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from collectionstore_operator.manifests.backups.archive import STATUS_PORT
from collectionstore_operator.manifests.backups.work import OWNER, Work, owned
from collectionstore_operator.manifests.manifest import Body, Manifest
from collectionstore_operator.manifests.networkpolicy import DNS_PORTS, OPERATOR
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.desired import CLIENT_PORT, Desired

HTTPS_PORT = 443
ROLE_PORTS = (80, 988)
"""Where the machines of clouds answer for the credentials of a role."""


def build_policies(work: Work) -> tuple[Manifest, ...]:
    """Return the policies; none for a cluster that is gone, or that has none itself."""
    cluster = work.cluster
    if cluster is None or cluster.spec.network_policy.mode != "Enabled":
        return ()
    return (_pods(work, cluster),)


def _pods(work: Work, cluster: Desired) -> Manifest:
    """Return what the pods of one backup or schedule may reach, and that nothing but the operator reaches them."""
    egress: list[Body] = [
        {"to": [{"podSelector": {"matchLabels": labels.selector(cluster.name)}}], "ports": _ports(CLIENT_PORT)},
        {"ports": [{"protocol": protocol, "port": port} for protocol in ("UDP", "TCP") for port in DNS_PORTS]},
    ]
    store = _store_ports(work)
    if store:
        egress.append({"ports": _ports(*store)})
    operator = {"namespaceSelector": {}, "podSelector": {"matchLabels": dict(OPERATOR)}}
    spec = {
        "podSelector": {"matchLabels": {**names.pod_selector(cluster.name), OWNER: work.uid}},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [operator], "ports": _ports(STATUS_PORT)}],
        "egress": egress,
    }
    name = names.job(work.name, work.uid, "pods")
    return owned(work, api_version="networking.k8s.io/v1", kind="NetworkPolicy", name=name, spec=spec, annotations={})


def _store_ports(work: Work) -> list[int]:
    repository = work.repository
    if repository.url.startswith("file://"):
        return []
    ports = {HTTPS_PORT}
    try:
        endpoint = urlsplit(repository.options.get("endpoint", ""))
        ports.add(endpoint.port or (80 if endpoint.scheme == "http" else HTTPS_PORT))
    except ValueError:
        pass  # the program reports an invalid URL; it can reach nothing with it
    if repository.credentials_secret_name is None:
        ports |= set(ROLE_PORTS)
    return sorted(ports)


def _ports(*numbers: int) -> list[Body]:
    return [{"protocol": "TCP", "port": number} for number in numbers]
