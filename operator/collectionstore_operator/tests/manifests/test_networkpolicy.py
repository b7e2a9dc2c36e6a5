"""The NetworkPolicy of the members: who reaches which port, and what members reach."""

from __future__ import annotations

from typing import Any

from collectionstore_operator.manifests import networkpolicy
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names as backup_names
from collectionstore_operator.resource.desired import (
    CLIENT_PORT,
    METRICS_PORT,
    PEER_PORT,
    Desired,
    EnvironmentVariable,
    NetworkAccess,
    NetworkPeers,
    PodTemplate,
    Spec,
)

MEMBERS = {"podSelector": {"matchLabels": labels.selector("demo")}}


def spec_of(**spec: Any) -> dict[str, Any]:
    return dict(networkpolicy.build(Desired(name="demo", uid="u1", spec=Spec(**spec))).body["spec"])


def by_port(rules: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {port["port"]: rule for rule in rules for port in rule["ports"]}


def test_peer_port_is_for_members_of_the_same_cluster_in_the_same_namespace() -> None:
    ingress = by_port(spec_of()["ingress"])
    assert ingress[PEER_PORT]["from"] == [MEMBERS]
    assert "from" not in ingress[CLIENT_PORT], "clients may be anywhere by default"
    assert ingress[METRICS_PORT]["from"] == [{"namespaceSelector": {}}]
    assert set(ingress) == {PEER_PORT, CLIENT_PORT, METRICS_PORT}


def test_named_clients_are_allowed_beside_members_and_operator() -> None:
    clients = NetworkPeers(namespace_labels={"team": "a"}, pod_labels={"app": "shop"})
    access = NetworkAccess(clients=(clients,), monitoring=(NetworkPeers(namespace_labels={"name": "monitoring"}),))
    ingress = by_port(spec_of(network_policy=access)["ingress"])
    assert ingress[CLIENT_PORT]["from"] == [
        MEMBERS,
        {"namespaceSelector": {}, "podSelector": {"matchLabels": networkpolicy.OPERATOR}},
        {"podSelector": {"matchLabels": backup_names.pod_selector("demo")}},
        {"namespaceSelector": {"matchLabels": {"team": "a"}}, "podSelector": {"matchLabels": {"app": "shop"}}},
    ]
    (monitoring,) = ingress[METRICS_PORT]["from"]
    assert monitoring == {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}, "podSelector": {}}


def test_members_reach_what_they_need_in_a_namespace_that_denies_everything() -> None:
    """Each other, DNS by both protocols, and the API server that they ask for certificates."""
    spec = spec_of()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    egress = by_port(spec["egress"])
    assert egress[PEER_PORT]["to"] == egress[CLIENT_PORT]["to"] == [MEMBERS]
    for port in (53, 443, 6443):
        assert "to" not in egress[port]
    assert {one["protocol"] for one in egress[53]["ports"]} == {"UDP", "TCP"}


def test_trace_collectors_of_the_environment_are_reached() -> None:
    environment = (
        EnvironmentVariable(name="OTEL_EXPORTER_OTLP_ENDPOINT", value="http://collector.monitoring:4318"),
        EnvironmentVariable(name="OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", value="http://[::1"),
        EnvironmentVariable(name="OTEL_SERVICE_NAME", value="http://x:9999"),
    )
    egress = by_port(spec_of(pod=PodTemplate(environment=environment))["egress"])
    assert 4318 in egress
    assert 9999 not in egress
