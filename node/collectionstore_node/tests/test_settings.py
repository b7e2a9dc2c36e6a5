"""What the environment may say, and what it is told when it says something else."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from collectionstore_node.audit.settings import VARIABLES as AUDIT_VARIABLES
from collectionstore_node.settings import PREFIX, VARIABLES, Address, InvalidSetting, Settings

GOOD = {
    "COLLECTIONSTORE_NAME": "demo-0",
    "COLLECTIONSTORE_CLUSTER_ID": "c1",
    "COLLECTIONSTORE_DATA_DIR": "/data",
    "COLLECTIONSTORE_TLS_DIR": "/tls",
}


def settings(**changes: str) -> Settings:
    return Settings.from_environment({**GOOD, **{PREFIX + name: value for name, value in changes.items()}})


def test_defaults_are_those_of_the_documentation() -> None:
    given = settings()
    assert (given.heartbeat_ms, given.election_min_ms, given.election_max_ms) == (150, 300, 600)
    assert (given.snapshot_commands, given.snapshot_log_bytes) == (10_000, 64 << 20)
    assert given.client_tls == "Required"
    assert given.client_advertise == "https://127.0.0.1:7400"
    assert given.client_tls_dir == given.tls_dir


def test_slower_heartbeat_moves_the_election_timeout_with_it() -> None:
    given = settings(HEARTBEAT_MS="500")
    assert (given.election_min_ms, given.election_max_ms) == (1_000, 2_000)


def test_failure_detection_is_whole_unless_told_otherwise() -> None:
    assert (settings().pre_vote, settings().check_quorum) == ("Enabled", "Enabled")
    given = settings(PRE_VOTE="Disabled", CHECK_QUORUM="Disabled")
    assert (given.pre_vote, given.check_quorum) == ("Disabled", "Disabled")


def test_metrics_are_on_unless_turned_off() -> None:
    assert (settings().metrics, settings(METRICS="Disabled").metrics) == ("Enabled", "Disabled")


@pytest.mark.parametrize("variable", ["NAME", "CLUSTER_ID", "DATA_DIR", "TLS_DIR"])
def test_missing_required_variable_is_named(variable: str) -> None:
    environment = {name: value for name, value in GOOD.items() if name != PREFIX + variable}
    with pytest.raises(InvalidSetting, match=f"{PREFIX}{variable} is not set"):
        Settings.from_environment(environment)


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        pytest.param("NAME", "Demo", "a-z, 0-9", id="upper-case-name"),
        pytest.param("NAME", "demo-", "a-z, 0-9", id="name-ends-in-dash"),
        pytest.param("CLIENT_ADDRESS", "7400", "host:port", id="no-host"),
        pytest.param("CLIENT_ADDRESS", "127.0.0.1:99999", "port from 0 to 65535", id="port-out-of-range"),
        pytest.param("CLIENT_TLS", "off", "Required or Disabled", id="unknown-choice"),
        pytest.param("HEARTBEAT_MS", "fast", "5 to 10000", id="not-a-number"),
        pytest.param("HEARTBEAT_MS", "4", "5 to 10000", id="heartbeat-too-short"),
        pytest.param("ELECTION_MIN_MS", "299", "300 to 100000", id="election-below-two-heartbeats"),
        pytest.param("ELECTION_MAX_MS", "301", "450 to 200000", id="no-spread-between-timeouts"),
        pytest.param("PRE_VOTE", "off", "Enabled or Disabled", id="unknown-pre-vote"),
        pytest.param("CHECK_QUORUM", "", "not empty", id="empty-check-quorum"),
        pytest.param("SNAPSHOT_COMMANDS", "999", "1000 to", id="too-few-commands"),
        pytest.param("LOG_LEVEL", "verbose", "debug or info", id="unknown-level"),
    ],
)
def test_value_out_of_bounds_is_told_with_what_is_allowed(variable: str, value: str, allowed: str) -> None:
    with pytest.raises(InvalidSetting) as error:
        settings(**{variable: value})
    assert str(error.value).startswith(f"{PREFIX}{variable} is '{value}'; allowed: ")
    assert allowed in str(error.value)


def test_plain_http_is_refused_off_loopback() -> None:
    with pytest.raises(InvalidSetting, match="not a loopback address"):
        settings(CLIENT_TLS="Disabled", CLIENT_ADDRESS="10.0.0.1:7400")
    assert settings(CLIENT_TLS="Disabled").client_advertise == "http://127.0.0.1:7400"


def test_routes_between_members_are_refused_off_loopback() -> None:
    with pytest.raises(InvalidSetting, match="not a loopback address"):
        settings(PEER_ROUTES="/routes.json", PEER_ADDRESS="10.0.0.1:7401")
    assert settings(PEER_ROUTES="/routes.json").peer_routes == Path("/routes.json")
    assert settings().peer_routes is None


KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def test_enrolment_finds_the_api_server_as_every_container_does() -> None:
    assert settings().enrolment == "Disabled"
    assert settings().api_server is None
    enrolled = {**GOOD, PREFIX + "ENROLMENT": "Kubernetes", PREFIX + "NAMESPACE": "shop"}
    given = Settings.from_environment({**enrolled, **KUBERNETES})
    assert (given.namespace, given.api_server) == ("shop", Address("10.96.0.1", 443))
    assert given.trust_file == Path("/etc/collectionstore/trust/ca.crt")
    over_ipv6 = Settings.from_environment({**enrolled, **KUBERNETES, "KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert str(over_ipv6.api_server) == "[fd00::1]:443"


@pytest.mark.parametrize("missing", ["NAMESPACE", "API_SERVER"])
def test_enrolment_names_what_it_lacks(missing: str) -> None:
    enrolled = {"ENROLMENT": "Kubernetes", "NAMESPACE": "shop", "API_SERVER": "10.96.0.1:443"}
    del enrolled[missing]
    with pytest.raises(InvalidSetting, match=f"{PREFIX}{missing} is not set"):
        settings(**enrolled)


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("[::1]:7400", Address("::1", 7400), True),
        ("localhost:1", Address("localhost", 1), True),
        ("0.0.0.0:7400", Address("0.0.0.0", 7400), False),
        ("demo-0.peers.svc:7401", Address("demo-0.peers.svc", 7401), False),
    ],
)
def test_addresses_are_parsed_and_printed_alike(text: str, address: Address, *, loopback: bool) -> None:
    given = settings(CLIENT_ADDRESS=text).client_address
    assert given == address
    assert str(given) == text
    assert given.loopback is loopback


def test_help_lists_every_setting() -> None:
    audit = {name for name, _, _ in AUDIT_VARIABLES}
    listed = {name.lower() for name, _, _ in VARIABLES if name not in audit}
    assert listed == {field.name for field in fields(Settings)} - {"audit", "traces"}
    assert audit < {name for name, _, _ in VARIABLES}


def test_hosts_are_checked_on_loopback_unless_told_otherwise() -> None:
    """The names of the node itself are always allowed; elsewhere names of Services and of Ingresses are not known."""
    given = settings(CLIENT_ADVERTISE="https://Shop.example:7400", ALLOWED_HOSTS="a.example, .b.example")
    assert given.allowed_hosts == ("localhost", "127.0.0.1", "shop.example", "a.example", ".b.example")
    assert settings().allowed_hosts == ("localhost", "127.0.0.1", "127.0.0.1")
    assert settings(ALLOWED_HOSTS="*").allowed_hosts == ()
    assert settings(CLIENT_ADDRESS="0.0.0.0:7400").allowed_hosts == ()
    assert "a.example" in settings(CLIENT_ADDRESS="0.0.0.0:7400", ALLOWED_HOSTS="a.example").allowed_hosts
    with pytest.raises(InvalidSetting, match="without ports"):
        settings(ALLOWED_HOSTS="a.example:7400")


def test_an_address_has_half_of_the_connections_by_default() -> None:
    assert (settings().connections_max, settings().address_connections_max) == (4_096, 2_048)
    assert settings(CONNECTIONS_MAX="101").address_connections_max == 51


def test_certificate_names_are_given_with_their_kind() -> None:
    """What the requested certificate must have beside the names of every member."""
    given = settings(CERTIFICATE_NAMES="DNS:store.example.org, DNS:*.example.org,IP:2001:db8::1").certificate_names
    assert given == ("DNS:store.example.org", "DNS:*.example.org", "IP:2001:db8::1")
    assert settings().certificate_names == ()


@pytest.mark.parametrize("value", ["store.example.org", "DNS:", "URI:collectionstore://c1/operator", "IP:x", "DNS:a b"])
def test_certificate_names_of_another_form_are_refused(value: str) -> None:
    with pytest.raises(InvalidSetting, match="DNS:<name> and IP:<address>, separated by commas"):
        settings(CERTIFICATE_NAMES=value)
