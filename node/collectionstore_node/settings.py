"""The settings of a node: one frozen struct, parsed once from environment variables, the only reader of `os.environ`.

All variables start with `COLLECTIONSTORE_`, except OpenTelemetry's own (docs/operate/tracing.md). Joining a cluster is
not a setting: an empty node waits until it is bootstrapped by an API call, or contacted by a leader.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast
from urllib.parse import urlsplit

from collectionstore_telemetry.tracing.settings import TRACES_OFF, TraceSettings, read_trace_settings

PREFIX: Final = "COLLECTIONSTORE_"
NAME_PATTERN: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
RECOVER_PATTERN: Final = re.compile(
    r"(?P<name>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)/(?P<node>[0-9a-f]{16})/"
    r"(?P<cluster>[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)/(?P<nonce>[0-9a-f]{16,64})"
)
RECOVER_ALLOWED: Final = "member/node ID/cluster ID/nonce, such as demo-0/00c0ffee00c0ffee/1f2e3d4c/0123456789abcdef"
SERVICE_ACCOUNT_DIR: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TRUST_FILE: Final = Path("/etc/collectionstore/trust/ca.crt")

STALENESS_MIN_MS: Final = 1_000
"""A member asks four times within its bound: below this, one lost connection would take it out of service."""

ANY_HOST: Final = "*"
_CERTIFICATE_NAME: Final = re.compile(r"DNS:[*A-Za-z0-9][A-Za-z0-9.-]{0,252}|IP:[0-9A-Fa-f:.]{2,45}")
_HOST_NAME: Final = re.compile(r"\.?[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?")


class InvalidSetting(Exception):
    """A variable is missing or out of range; the text names it, its value and the allowed ones."""

    def __init__(self, variable: str, value: str | None, allowed: str) -> None:
        shown = "is not set" if value is None else f"is {value!r}"
        super().__init__(f"{PREFIX}{variable} {shown}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address; `host` is a host name, or an IP address without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether the address is reachable from this host only."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class Settings:
    """The configuration of a node."""

    name: str
    cluster_id: str
    data_dir: Path
    client_address: Address
    peer_address: Address
    metrics_address: Address
    client_advertise: str
    """Base URL of this node for clients, in redirects and member lists."""
    peer_advertise: str
    """`host:port` of this node for its peers."""
    peer_routes: Path | None
    """A file that says where to dial members instead of their advertised addresses; see `transport.routes`."""
    tls_dir: Path
    """Holds ca.crt, tls.crt and tls.key for peers, and for clients unless `client_tls_dir` differs."""
    client_tls: Literal["Required", "Disabled"]
    client_tls_dir: Path
    client_certificate_dir: Path | None
    """Holds tls.crt and tls.key that the user gives for clients; None if there are none."""
    admin_token_file: Path | None
    """A file with the token that requests which change the cluster must carry, when there is no client TLS."""
    certificate_names: tuple[str, ...]
    """Names that the certificate must have beside those of every member: `DNS:<name>` and `IP:<address>`."""
    enrolment: Literal["Kubernetes", "Disabled"]
    """Whether the node requests the certificate in `tls_dir` from Kubernetes, or finds it there."""
    namespace: str
    """Namespace of the pod; empty without enrolment."""
    api_server: Address | None
    service_account_dir: Path
    """Contains `token`, which is read for every request, as it rotates, and the API server's `ca.crt`."""
    trust_file: Path
    """CA bundle for `tls_dir`, published by the operator."""
    client_trust_file: Path | None
    """CA bundle for `client_tls_dir`, where clients have an authority of their own; then both have a certificate."""
    heartbeat_ms: int
    election_min_ms: int
    election_max_ms: int
    """Also how long the event loop, a sync or the state machine may stall before the leader steps down."""
    pre_vote: Literal["Enabled", "Disabled"]
    check_quorum: Literal["Enabled", "Disabled"]
    snapshot_commands: int
    """Compact the log after this many applied commands, or"""
    snapshot_log_bytes: int
    """when it exceeds this many bytes."""
    document_bytes_max: int
    quota_bytes: int
    """Size of the database at which the cluster takes no more data; 0: no quota."""
    reserve_bytes: int | None
    """Size of the reserve file; None: from the size of the file system."""
    memory_bytes: int | None
    """Memory to divide; None: the limit of the container."""
    connections_max: int
    """Connections of the client port, unless the limit of open files leaves fewer."""
    address_connections_max: int
    """Connections of the client port from one address; loopback has no bound of its own."""
    allowed_hosts: tuple[str, ...]
    """Names that a Host header may have; empty when every host is served."""
    metrics: Literal["Enabled", "Disabled"]
    """Disabled: requests are not counted; what is read at scrape time is still exported."""
    log_format: Literal["auto", "json", "console"]
    log_level: Literal["debug", "info", "warning", "error"]
    staleness_max_ms: int
    """How stale the state of a member without a vote may be: beyond it, it is not ready and refuses stale reads."""
    slow_write_ms: int
    """Threshold of the slow log, in milliseconds; 0 disables it. Also for the following four."""
    slow_read_ms: int
    slow_fsync_ms: int
    slow_apply_ms: int
    slow_http_ms: int
    profiling: Literal["Enabled", "Disabled"]
    """Whether the profiling endpoint is served."""
    traces: TraceSettings = TRACES_OFF
    """From the standard OpenTelemetry variables; the SDK reads the rest of them itself."""
    recover: str = ""
    """The instruction to recover the data directory BEFORE it is opened (see the room `recovery`); empty for none."""
    access: Literal["Disabled", "Permissive", "Enforced"] = "Disabled"
    """The mode of access control until the store has an access configuration."""
    user_ca_file: Path | None = None
    """CA bundle of the user's own, whose client certificates name users; None for none."""
    keys_dir: Path | None = None
    """Holds key sets of issuers of JWTs that the access configuration names as files; None for none."""
    metrics_tls: Literal["Required", "Disabled"] = "Disabled"
    """Required: the metrics port has the certificate for clients, and asks for credentials when access is enforced."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Parse and validate the variables. Raises `InvalidSetting` for the first invalid one."""
        read = _Reader(environment)
        client_address = read.address("CLIENT_ADDRESS", "127.0.0.1:7400")
        peer_address = read.address("PEER_ADDRESS", "127.0.0.1:7401")
        client_tls = cast(
            Literal["Required", "Disabled"], read.choice("CLIENT_TLS", "Required", ("Required", "Disabled"))
        )
        if client_tls == "Disabled" and not client_address.loopback:
            raise InvalidSetting(
                "CLIENT_TLS", "Disabled", f"Required, because {client_address} is not a loopback address"
            )
        peer_routes = read.optional_path("PEER_ROUTES")
        if peer_routes is not None and not peer_address.loopback:
            # Fault injection on one machine. On any other address it could redirect the traffic of a real cluster.
            raise InvalidSetting(
                "PEER_ROUTES", str(peer_routes), f"not to be set, because {peer_address} is not a loopback address"
            )
        tls_dir = read.path("TLS_DIR")
        enrolment = cast(
            Literal["Kubernetes", "Disabled"], read.choice("ENROLMENT", "Disabled", ("Kubernetes", "Disabled"))
        )
        scheme = "https" if client_tls == "Required" else "http"
        client_advertise = read.text("CLIENT_ADVERTISE", f"{scheme}://{client_address}")
        heartbeat_ms = read.integer("HEARTBEAT_MS", 150, 5, 10_000)
        election_min_ms = read.integer("ELECTION_MIN_MS", 2 * heartbeat_ms, 2 * heartbeat_ms, 100_000)
        return cls(
            name=read.matching("NAME", NAME_PATTERN, "1-63 characters of a-z, 0-9 and '-', as in a DNS label"),
            cluster_id=read.matching(
                "CLUSTER_ID", NAME_PATTERN, "1-63 characters of a-z, 0-9 and '-', as in a DNS label"
            ),
            data_dir=read.path("DATA_DIR"),
            client_address=client_address,
            peer_address=peer_address,
            metrics_address=read.address("METRICS_ADDRESS", "127.0.0.1:7402"),
            client_advertise=client_advertise,
            peer_advertise=read.text("PEER_ADVERTISE", str(peer_address)),
            peer_routes=peer_routes,
            tls_dir=tls_dir,
            client_tls=client_tls,
            client_tls_dir=read.path("CLIENT_TLS_DIR", tls_dir),
            client_certificate_dir=read.optional_path("CLIENT_CERTIFICATE_DIR"),
            admin_token_file=read.optional_path("ADMIN_TOKEN_FILE"),
            certificate_names=read.certificate_names(),
            enrolment=enrolment,
            namespace=read.matching("NAMESPACE", NAME_PATTERN, "the namespace of the pod, a DNS label")
            if enrolment == "Kubernetes"
            else "",
            api_server=read.address("API_SERVER", read.service()) if enrolment == "Kubernetes" else None,
            service_account_dir=read.path("SERVICE_ACCOUNT_DIR", SERVICE_ACCOUNT_DIR),
            trust_file=read.path("TRUST_FILE", TRUST_FILE),
            client_trust_file=_client_trust_file(read, tls_dir) if enrolment == "Kubernetes" else None,
            heartbeat_ms=heartbeat_ms,
            election_min_ms=election_min_ms,
            election_max_ms=read.integer(
                "ELECTION_MAX_MS", 2 * election_min_ms, election_min_ms + heartbeat_ms, 200_000
            ),
            pre_vote=read.switch("PRE_VOTE"),
            check_quorum=read.switch("CHECK_QUORUM"),
            snapshot_commands=read.integer("SNAPSHOT_COMMANDS", 10_000, 1_000, 100_000_000),
            snapshot_log_bytes=read.integer("SNAPSHOT_LOG_BYTES", 64 << 20, 1 << 20, 16 << 30),
            document_bytes_max=read.integer("DOCUMENT_BYTES_MAX", 1 << 20, 1 << 10, 16 << 20),
            quota_bytes=read.integer("QUOTA_BYTES", 0, 0, 1 << 50),
            reserve_bytes=read.optional_integer("RESERVE_BYTES", 0, 1 << 40),
            memory_bytes=read.optional_integer("MEMORY_BYTES", 1 << 20, 1 << 50),
            connections_max=(connections_max := read.integer("CONNECTIONS_MAX", 4_096, 16, 60_000)),
            address_connections_max=read.integer("ADDRESS_CONNECTIONS_MAX", -(-connections_max // 2), 1, 60_000),
            allowed_hosts=read.hosts("ALLOWED_HOSTS", client_address, client_advertise),
            metrics=read.switch("METRICS"),
            log_format=cast(
                Literal["auto", "json", "console"], read.choice("LOG_FORMAT", "auto", ("auto", "json", "console"))
            ),
            log_level=cast(
                Literal["debug", "info", "warning", "error"],
                read.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
            ),
            staleness_max_ms=read.integer("STALENESS_MAX_MS", 10_000, STALENESS_MIN_MS, 3_600_000),
            slow_write_ms=read.integer("SLOW_WRITE_MS", 500, 0, 600_000),
            slow_read_ms=read.integer("SLOW_READ_MS", 300, 0, 600_000),
            slow_fsync_ms=read.integer("SLOW_FSYNC_MS", 100, 0, 600_000),
            slow_apply_ms=read.integer("SLOW_APPLY_MS", 100, 0, 600_000),
            slow_http_ms=read.integer("SLOW_HTTP_MS", 1_000, 0, 600_000),
            profiling=cast(
                Literal["Enabled", "Disabled"], read.choice("PROFILING", "Disabled", ("Enabled", "Disabled"))
            ),
            traces=read_trace_settings(environment),
            recover=read.optional("RECOVER", RECOVER_PATTERN, RECOVER_ALLOWED),
            access=_access(read, client_tls),
            user_ca_file=_with_client_tls(read, "USER_CA_FILE", client_tls),
            keys_dir=read.optional_path("KEYS_DIR"),
            metrics_tls=_metrics_tls(read, client_tls),
        )


class _Reader:
    """Reads single variables; every method raises `InvalidSetting`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, variable: str, default: str | None = None) -> str:
        value = self._environment.get(PREFIX + variable, default)
        if not value:
            raise InvalidSetting(variable, value, "any value that is not empty")
        return value

    def matching(self, variable: str, pattern: re.Pattern[str], allowed: str) -> str:
        value = self._environment.get(PREFIX + variable)
        if value is None or not pattern.fullmatch(value):
            raise InvalidSetting(variable, value, allowed)
        return value

    def optional(self, variable: str, pattern: re.Pattern[str], allowed: str) -> str:
        """Return a value that matches; empty when the variable is absent or empty."""
        return self.matching(variable, pattern, allowed) if self._environment.get(PREFIX + variable) else ""

    def choice(self, variable: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(variable, default)
        if value not in allowed:
            raise InvalidSetting(variable, value, " or ".join(allowed))
        return value

    def switch(self, variable: str) -> Literal["Enabled", "Disabled"]:
        """Parse Enabled or Disabled; the default is Enabled."""
        return cast(Literal["Enabled", "Disabled"], self.choice(variable, "Enabled", ("Enabled", "Disabled")))

    def integer(self, variable: str, default: int, lo: int, hi: int) -> int:
        value = self.text(variable, str(default))
        if not re.fullmatch(r"[0-9]{1,16}", value) or not lo <= int(value) <= hi:
            raise InvalidSetting(variable, value, f"a whole number from {lo} to {hi}")
        return int(value)

    def optional_integer(self, variable: str, lo: int, hi: int) -> int | None:
        return self.integer(variable, lo, lo, hi) if self._environment.get(PREFIX + variable) else None

    def path(self, variable: str, default: Path | None = None) -> Path:
        return Path(self.text(variable, None if default is None else str(default)))

    def optional_path(self, variable: str) -> Path | None:
        value = self._environment.get(PREFIX + variable)
        return Path(value) if value else None

    def hosts(self, variable: str, listening: Address, advertised: str) -> tuple[str, ...]:
        """Parse a list of host names; empty for "*", and by default for an address that other machines can reach.

        The names of the node itself are always in the list.
        """
        value = self._environment.get(PREFIX + variable) or ("" if listening.loopback else ANY_HOST)
        if value == ANY_HOST:
            return ()
        names = [name.strip() for name in value.split(",") if name.strip()]
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise InvalidSetting(variable, value, "host names without ports, separated by commas, or *")
        own = urlsplit(advertised if "://" in advertised else f"//{advertised}").hostname
        return ("localhost", listening.host, *([own] if own else []), *names)

    def certificate_names(self) -> tuple[str, ...]:
        """Parse `DNS:<name>` and `IP:<address>`, separated by commas; empty without the variable."""
        value = self._environment.get(f"{PREFIX}CERTIFICATE_NAMES") or ""
        names = tuple(name.strip() for name in value.split(",") if name.strip())
        for name in names:
            if not _CERTIFICATE_NAME.fullmatch(name):
                raise InvalidSetting("CERTIFICATE_NAMES", value, "DNS:<name> and IP:<address>, separated by commas")
        return names

    def service(self) -> str | None:
        """Return the API server's address, from the variables that Kubernetes sets; None without them."""
        host, port = (self._environment.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
        return str(Address(host, int(port))) if host and port and port.isdecimal() else None

    def address(self, variable: str, default: str | None) -> Address:
        value = self.text(variable, default)
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", value)
        if match is None or not 0 <= int(match[3]) <= 65535:
            raise InvalidSetting(variable, value, "host:port or [IPv6]:port, with a port from 0 to 65535")
        return Address(match[1] or match[2], int(match[3]))


def _with_client_tls(read: _Reader, variable: str, client_tls: str) -> Path | None:
    """Return a path that is of use with client TLS alone."""
    found = read.optional_path(variable)
    if found is not None and client_tls == "Disabled":
        raise InvalidSetting(variable, str(found), "not to be set, because CLIENT_TLS is Disabled")
    return found


def _access(read: _Reader, client_tls: str) -> Literal["Disabled", "Permissive", "Enforced"]:
    """Parse it; enforced from the start, someone must be able to get in: by a certificate, or by the token."""
    found = read.choice("ACCESS", "Disabled", ("Disabled", "Permissive", "Enforced"))
    if found == "Enforced" and client_tls == "Disabled" and read.optional_path("ADMIN_TOKEN_FILE") is None:
        raise InvalidSetting("ACCESS", found, "Enforced with client TLS or an ADMIN_TOKEN_FILE, to get in at all")
    return cast(Literal["Disabled", "Permissive", "Enforced"], found)


def _metrics_tls(read: _Reader, client_tls: str) -> Literal["Required", "Disabled"]:
    """Parse it; the port's certificate is that of the client port."""
    found = read.choice("METRICS_TLS", "Disabled", ("Required", "Disabled"))
    if found == "Required" and client_tls == "Disabled":
        raise InvalidSetting("METRICS_TLS", found, "Disabled, because CLIENT_TLS is Disabled")
    return cast(Literal["Required", "Disabled"], found)


def _client_trust_file(read: _Reader, tls_dir: Path) -> Path | None:
    """Return the CA bundle for clients; two certificates with one folder would replace each other."""
    found = read.optional_path("CLIENT_TRUST_FILE")
    if found is not None and read.path("CLIENT_TLS_DIR", tls_dir) == tls_dir:
        allowed = "not to be set unless CLIENT_TLS_DIR differs from TLS_DIR"
        raise InvalidSetting("CLIENT_TRUST_FILE", str(found), allowed)
    return found


VARIABLES: Final[tuple[tuple[str, str, str], ...]] = (
    ("NAME", "required", "name of the member, such as demo-0"),
    ("CLUSTER_ID", "required", "ID of the cluster that the member belongs to"),
    ("DATA_DIR", "required", "data directory; an empty one becomes a new member"),
    ("TLS_DIR", "required", "directory with ca.crt, tls.crt and tls.key for traffic between nodes"),
    ("CLIENT_ADDRESS", "127.0.0.1:7400", "listen address for clients; 0.0.0.0 or [::]: all addresses, IPv4 and IPv6"),
    ("PEER_ADDRESS", "127.0.0.1:7401", "listen address for other nodes"),
    (
        "METRICS_ADDRESS",
        "127.0.0.1:7402",
        "listen address for metrics and probes, plain HTTP unless METRICS_TLS is Required",
    ),
    ("CLIENT_ADVERTISE", "from CLIENT_ADDRESS", "URL of this node for clients"),
    ("PEER_ADVERTISE", "from PEER_ADDRESS", "host:port of this node for other nodes"),
    ("PEER_ROUTES", "none", "file that overrides peer addresses, for fault injection on one machine; loopback only"),
    ("CLIENT_TLS", "Required", "Required or Disabled; Disabled on loopback only"),
    ("CLIENT_TLS_DIR", "TLS_DIR", "directory with another certificate for clients"),
    ("CLIENT_CERTIFICATE_DIR", "none", "directory with tls.crt and tls.key that clients get instead, if usable"),
    (
        "ADMIN_TOKEN_FILE",
        "none",
        "without client TLS: file, mode 0600, with the token for requests that change the cluster",
    ),
    (
        "ACCESS",
        "Disabled",
        "Disabled, Permissive or Enforced: access control until the store has an access configuration",
    ),
    ("USER_CA_FILE", "none", "CA bundle of your own, whose client certificates name users of the store"),
    ("KEYS_DIR", "none", "directory with key sets (JWKS) of issuers that the access configuration names as files"),
    (
        "METRICS_TLS",
        "Disabled",
        "Required: TLS on the metrics port, and credentials with the right to monitor when access is enforced",
    ),
    ("ENROLMENT", "Disabled", "Kubernetes: generate a key in TLS_DIR and request certificates from the API server"),
    ("CERTIFICATE_NAMES", "none", "names that the requested certificate must have, DNS:<name> or IP:<address>"),
    ("NAMESPACE", "none", "namespace of the pod; required for enrolment"),
    ("API_SERVER", "from KUBERNETES_SERVICE_HOST and _PORT", "host:port of the Kubernetes API server, for enrolment"),
    (
        "SERVICE_ACCOUNT_DIR",
        str(SERVICE_ACCOUNT_DIR),
        "directory with token and ca.crt for the API server, for enrolment",
    ),
    ("TRUST_FILE", str(TRUST_FILE), "CA bundle for TLS_DIR, for enrolment"),
    (
        "CLIENT_TRUST_FILE",
        "none",
        "CA bundle for CLIENT_TLS_DIR, for enrolment: request a second certificate, of the authority for clients",
    ),
    ("HEARTBEAT_MS", "150", "heartbeat interval of the leader, 5 to 10000"),
    ("ELECTION_MIN_MS", "2 x heartbeat", "minimum election timeout"),
    ("ELECTION_MAX_MS", "2 x ELECTION_MIN_MS", "maximum election timeout"),
    (
        "PRE_VOTE",
        "Enabled",
        "Disabled: elections without a pre-vote; a member that returns may depose a healthy leader",
    ),
    (
        "CHECK_QUORUM",
        "Enabled",
        "Disabled: a leader without a quorum does not step down until it receives a higher term",
    ),
    ("SNAPSHOT_COMMANDS", "10000", "compact the log after this many commands, 1000 or more"),
    ("SNAPSHOT_LOG_BYTES", "67108864", "or when it exceeds this many bytes"),
    ("DOCUMENT_BYTES_MAX", "1048576", "maximum size of a document or value, 1024 to 16777216"),
    ("QUOTA_BYTES", "0", "size of the database at which the cluster takes no more data; 0: no quota"),
    ("RESERVE_BYTES", "from the file system", "size of the file that keeps space in reserve; 0: none"),
    ("MEMORY_BYTES", "limit of the container", "memory to divide among caches and queues, in bytes"),
    ("CONNECTIONS_MAX", "4096", "connections of clients; fewer when the limit of open files is low"),
    ("ADDRESS_CONNECTIONS_MAX", "half of CONNECTIONS_MAX", "connections of clients from one address but loopback"),
    (
        "ALLOWED_HOSTS",
        "own names on loopback, else *",
        "further names that a Host header may have, with commas; .example.com for all below; * for any",
    ),
    ("METRICS", "Enabled", "Disabled: requests are not counted; what is read at scrape time is still exported"),
    ("LOG_FORMAT", "auto", "json, console or auto; auto is console on a terminal, else json"),
    ("LOG_LEVEL", "info", "debug, info, warning or error; SIGUSR1 switches to debug, SIGUSR2 back"),
    (
        "STALENESS_MAX_MS",
        "10000",
        "how stale the state of a member without a vote may be before it refuses stale reads and is not ready",
    ),
    ("SLOW_WRITE_MS", "500", "slow log threshold of an entry, from its first command to its reply; 0 disables"),
    ("SLOW_READ_MS", "300", "slow log threshold of the confirmation of a read; 0 disables"),
    ("SLOW_FSYNC_MS", "100", "slow log threshold of a sync of the log; 0 disables"),
    ("SLOW_APPLY_MS", "100", "slow log threshold of applying entries; 0 disables"),
    ("SLOW_HTTP_MS", "1000", "slow log threshold of an HTTP request; 0 disables"),
    ("PROFILING", "Disabled", "Enabled: serve GET /debug/profile"),
    (
        "RECOVER",
        "none",
        "member/node ID/cluster ID/nonce: make that member's data those of the new cluster CLUSTER_ID, once",
    ),
)
"""Name, default and description of every variable, for `--help` and the documentation."""
