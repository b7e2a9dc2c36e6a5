"""The settings of a node: one frozen struct, read once from the environment; nothing else of ours reads `os.environ`.

Every variable starts with `COLLECTIONSTORE_`, but for OpenTelemetry's own (docs/tracing.md). Nothing about joining is a
setting: an empty node waits until it is bootstrapped by an explicit call or until a leader contacts it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, cast

from collectionstore_telemetry.tracing.settings import TRACES_OFF, TraceSettings, read_trace_settings

PREFIX: Final = "COLLECTIONSTORE_"
NAME_PATTERN: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SERVICE_ACCOUNT_DIR: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TRUST_FILE: Final = Path("/etc/collectionstore/trust/ca.crt")


class InvalidSetting(Exception):
    """A variable is missing or out of bounds; the text names it, its value and what is allowed."""

    def __init__(self, variable: str, value: str | None, allowed: str) -> None:
        shown = "is not set" if value is None else f"is {value!r}"
        super().__init__(f"{PREFIX}{variable} {shown}; allowed: {allowed}")


@dataclass(frozen=True, slots=True)
class Address:
    """A TCP address; `host` is a name or an IP literal without brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def loopback(self) -> bool:
        """Whether nothing outside this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a node is told from outside."""

    name: str
    cluster_id: str
    data_dir: Path
    client_address: Address
    peer_address: Address
    metrics_address: Address
    client_advertise: str
    """Base URL under which clients reach this node, for redirects and member lists."""
    peer_advertise: str
    """`host:port` under which other nodes reach this one."""
    peer_routes: Path | None
    """A file that says where to dial members instead of their advertised addresses; see `transport.routes`."""
    tls_dir: Path
    """Holds ca.crt, tls.crt and tls.key for peers, and for clients unless `client_tls_dir` differs."""
    client_tls: Literal["Required", "Disabled"]
    client_tls_dir: Path
    enrolment: Literal["Kubernetes", "Disabled"]
    """Whether the node asks Kubernetes for the pair in `tls_dir`, or finds it there."""
    namespace: str
    """The pod's; empty without enrolment, as are the two that follow."""
    api_server: Address | None
    service_account_dir: Path
    """Holds `token`, which is read anew for every call, and the API server's own `ca.crt`."""
    trust_file: Path
    """The cluster's authorities, as the operator publishes them."""
    heartbeat_ms: int
    election_min_ms: int
    election_max_ms: int
    """Also how long the event loop, a sync or the state machine may be stuck before a leader steps down."""
    pre_vote: Literal["Enabled", "Disabled"]
    check_quorum: Literal["Enabled", "Disabled"]
    snapshot_commands: int
    """Compact the log after this many applied commands ..."""
    snapshot_log_bytes: int
    """... or when it has grown to this many bytes."""
    document_bytes_max: int
    metrics: Literal["Enabled", "Disabled"]
    """Disabled: nothing is counted on the way of a request; what a scrape reads by itself is still told."""
    log_format: Literal["auto", "json", "console"]
    log_level: Literal["debug", "info", "warning", "error"]
    slow_write_ms: int
    """From when on operations are logged as slow; 0 never."""
    slow_read_ms: int
    slow_fsync_ms: int
    slow_apply_ms: int
    slow_http_ms: int
    profiling: Literal["Enabled", "Disabled"]
    """Whether operators may take profiles of the process."""
    traces: TraceSettings = TRACES_OFF
    """By the standard variables of OpenTelemetry, which the SDK reads itself where they say more."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Parse and check the variables. Raises `InvalidSetting` for the first that is wrong."""
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
            # Faults are put between members this way: never between those of a cluster on several machines.
            raise InvalidSetting(
                "PEER_ROUTES", str(peer_routes), f"not to be set, because {peer_address} is not a loopback address"
            )
        tls_dir = read.path("TLS_DIR")
        enrolment = cast(
            Literal["Kubernetes", "Disabled"], read.choice("ENROLMENT", "Disabled", ("Kubernetes", "Disabled"))
        )
        scheme = "https" if client_tls == "Required" else "http"
        heartbeat_ms = read.integer("HEARTBEAT_MS", 150, 5, 10_000)
        election_min_ms = read.integer("ELECTION_MIN_MS", 2 * heartbeat_ms, 2 * heartbeat_ms, 100_000)
        return cls(
            name=read.matching("NAME", NAME_PATTERN, "1-63 of a-z, 0-9 and '-', as in a DNS label"),
            cluster_id=read.matching("CLUSTER_ID", NAME_PATTERN, "the cluster's id, 1-63 of a-z, 0-9 and '-'"),
            data_dir=read.path("DATA_DIR"),
            client_address=client_address,
            peer_address=peer_address,
            metrics_address=read.address("METRICS_ADDRESS", "127.0.0.1:7402"),
            client_advertise=read.text("CLIENT_ADVERTISE", f"{scheme}://{client_address}"),
            peer_advertise=read.text("PEER_ADVERTISE", str(peer_address)),
            peer_routes=peer_routes,
            tls_dir=tls_dir,
            client_tls=client_tls,
            client_tls_dir=read.path("CLIENT_TLS_DIR", tls_dir),
            enrolment=enrolment,
            namespace=read.matching("NAMESPACE", NAME_PATTERN, "the pod's namespace")
            if enrolment == "Kubernetes"
            else "",
            api_server=read.address("API_SERVER", read.service()) if enrolment == "Kubernetes" else None,
            service_account_dir=read.path("SERVICE_ACCOUNT_DIR", SERVICE_ACCOUNT_DIR),
            trust_file=read.path("TRUST_FILE", TRUST_FILE),
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
            metrics=read.switch("METRICS"),
            log_format=cast(
                Literal["auto", "json", "console"], read.choice("LOG_FORMAT", "auto", ("auto", "json", "console"))
            ),
            log_level=cast(
                Literal["debug", "info", "warning", "error"],
                read.choice("LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
            ),
            slow_write_ms=read.integer("SLOW_WRITE_MS", 500, 0, 600_000),
            slow_read_ms=read.integer("SLOW_READ_MS", 300, 0, 600_000),
            slow_fsync_ms=read.integer("SLOW_FSYNC_MS", 100, 0, 600_000),
            slow_apply_ms=read.integer("SLOW_APPLY_MS", 100, 0, 600_000),
            slow_http_ms=read.integer("SLOW_HTTP_MS", 1_000, 0, 600_000),
            profiling=cast(
                Literal["Enabled", "Disabled"], read.choice("PROFILING", "Disabled", ("Enabled", "Disabled"))
            ),
            traces=read_trace_settings(environment),
        )


class _Reader:
    """Reads single variables; every method raises `InvalidSetting`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def text(self, variable: str, default: str | None = None) -> str:
        value = self._environment.get(PREFIX + variable, default)
        if not value:
            raise InvalidSetting(variable, value, "a value that is not empty")
        return value

    def matching(self, variable: str, pattern: re.Pattern[str], allowed: str) -> str:
        value = self._environment.get(PREFIX + variable)
        if value is None or not pattern.fullmatch(value):
            raise InvalidSetting(variable, value, allowed)
        return value

    def choice(self, variable: str, default: str, allowed: tuple[str, ...]) -> str:
        value = self.text(variable, default)
        if value not in allowed:
            raise InvalidSetting(variable, value, " or ".join(allowed))
        return value

    def switch(self, variable: str) -> Literal["Enabled", "Disabled"]:
        """Read what is Enabled unless it is turned off."""
        return cast(Literal["Enabled", "Disabled"], self.choice(variable, "Enabled", ("Enabled", "Disabled")))

    def integer(self, variable: str, default: int, lo: int, hi: int) -> int:
        value = self.text(variable, str(default))
        if not re.fullmatch(r"[0-9]{1,12}", value) or not lo <= int(value) <= hi:
            raise InvalidSetting(variable, value, f"a whole number from {lo} to {hi}")
        return int(value)

    def path(self, variable: str, default: Path | None = None) -> Path:
        return Path(self.text(variable, None if default is None else str(default)))

    def optional_path(self, variable: str) -> Path | None:
        value = self._environment.get(PREFIX + variable)
        return Path(value) if value else None

    def service(self) -> str | None:
        """Read the API server's address, as Kubernetes tells it to every container; None outside of one."""
        host, port = (self._environment.get(f"KUBERNETES_SERVICE_{part}") for part in ("HOST", "PORT"))
        return str(Address(host, int(port))) if host and port and port.isdecimal() else None

    def address(self, variable: str, default: str | None) -> Address:
        value = self.text(variable, default)
        match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):([0-9]{1,5})", value)
        if match is None or not 0 <= int(match[3]) <= 65535:
            raise InvalidSetting(variable, value, "host:port or [IPv6]:port, with a port from 0 to 65535")
        return Address(match[1] or match[2], int(match[3]))


VARIABLES: Final[tuple[tuple[str, str, str], ...]] = (
    ("NAME", "required", "the member's name, such as demo-0"),
    ("CLUSTER_ID", "required", "the cluster this node belongs to"),
    ("DATA_DIR", "required", "its data directory; an empty one makes a new member"),
    ("TLS_DIR", "required", "ca.crt, tls.crt and tls.key for traffic between nodes"),
    ("CLIENT_ADDRESS", "127.0.0.1:7400", "where clients are served"),
    ("PEER_ADDRESS", "127.0.0.1:7401", "where other nodes are served"),
    ("METRICS_ADDRESS", "127.0.0.1:7402", "where metrics and probes are served, over plain HTTP"),
    ("CLIENT_ADVERTISE", "from CLIENT_ADDRESS", "the URL under which clients reach this node"),
    ("PEER_ADVERTISE", "from PEER_ADDRESS", "host:port under which other nodes reach this one"),
    ("PEER_ROUTES", "none", "a file that leads to other peer addresses, for faults on one machine; only on loopback"),
    ("CLIENT_TLS", "Required", "Required or Disabled; Disabled only on loopback"),
    ("CLIENT_TLS_DIR", "TLS_DIR", "another certificate for clients"),
    ("ENROLMENT", "Disabled", "Kubernetes: make a key, keep it in TLS_DIR, and have certificates signed for it"),
    ("NAMESPACE", "none", "the pod's namespace; required for enrolment"),
    ("API_SERVER", "from KUBERNETES_SERVICE_HOST and _PORT", "host:port of the Kubernetes API, for enrolment"),
    ("SERVICE_ACCOUNT_DIR", str(SERVICE_ACCOUNT_DIR), "token and ca.crt for the Kubernetes API, for enrolment"),
    ("TRUST_FILE", str(TRUST_FILE), "the cluster's authorities, for enrolment"),
    ("HEARTBEAT_MS", "150", "a leader's heartbeat, 5 to 10000"),
    ("ELECTION_MIN_MS", "2 x heartbeat", "shortest election timeout"),
    ("ELECTION_MAX_MS", "2 x ELECTION_MIN_MS", "longest election timeout"),
    ("PRE_VOTE", "Enabled", "Disabled: candidates do not ask first, and who returns unsettles a leader that works"),
    ("CHECK_QUORUM", "Enabled", "Disabled: a leader that hears no majority goes on leading until it hears of another"),
    ("SNAPSHOT_COMMANDS", "10000", "compact the log after this many commands, from 1000"),
    ("SNAPSHOT_LOG_BYTES", "67108864", "or when it has grown to this many bytes"),
    ("DOCUMENT_BYTES_MAX", "1048576", "largest document or value, up to 16777216"),
    ("METRICS", "Enabled", "Disabled: nothing is counted for requests; what a scrape reads by itself is still told"),
    ("LOG_FORMAT", "auto", "json or console; auto is console on a terminal"),
    ("LOG_LEVEL", "info", "debug, info, warning or error; SIGUSR1 turns to debug, SIGUSR2 back"),
    ("SLOW_WRITE_MS", "500", "log an entry that takes this long from its first command to its answer; 0 never"),
    ("SLOW_READ_MS", "300", "log a read whose confirmation takes this long; 0 never"),
    ("SLOW_FSYNC_MS", "100", "log a sync of the log that takes this long; 0 never"),
    ("SLOW_APPLY_MS", "100", "log applying entries that takes this long; 0 never"),
    ("SLOW_HTTP_MS", "1000", "log a request that takes this long; 0 never"),
    ("PROFILING", "Disabled", "Enabled: operators may take profiles, GET /debug/profile"),
)
"""Name, default and meaning of every variable, for `--help` and the documentation."""
