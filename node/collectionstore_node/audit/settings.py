"""What the environment says of the audit log; off unless it names a sink. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, TypeVar, cast
from urllib.parse import urlsplit

from collectionstore_node.audit.rules import Rule, parse_rules

Sync = Literal["Always", "Interval", "Never"]
Blocking = Literal["Never", "WhenFull", "WhenFailing"]
T = TypeVar("T")

_FRACTION: Final = re.compile(r"0(\.[0-9]{1,6})?|1(\.0{1,6})?")


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """The audit log of a member."""

    directory: Path | None = None
    """Where files are written; None for no files."""
    file_bytes_max: int = 64 << 20
    """Size from which on the next file is begun."""
    files_max: int = 16
    """How many files are kept."""
    sync: Sync = "Interval"
    """When files are synced: with every batch of records, once a second, or never."""
    otlp: bool = False
    """Whether records are sent as OTLP logs, to where OpenTelemetry's standard variables say."""
    webhook: str = ""
    """URL that records are sent to; empty for none."""
    webhook_token_file: Path | None = None
    webhook_ca: Path | None = None
    spool_bytes_max: int = 16 << 20
    """Memory for records that a sink has not taken yet; of each sink."""
    blocking: Blocking = "Never"
    """When requests are refused because their records could be lost."""
    reads: float = 0.01
    """Part of the reads that is recorded where no rule says it."""
    rules: tuple[Rule, ...] = ()

    @property
    def enabled(self) -> bool:
        """Whether there is a sink."""
        return self.directory is not None or self.otlp or bool(self.webhook)


AUDIT_OFF: Final = AuditSettings()


class Reader(Protocol):
    """Reads single variables of the environment; raises what refuses one."""

    def choice(self, variable: str, default: str, allowed: tuple[str, ...]) -> str: ...

    def integer(self, variable: str, default: int, lo: int, hi: int) -> int: ...

    def optional_path(self, variable: str) -> Path | None: ...

    def parsed(self, variable: str, parse: Callable[[str], T], default: T) -> T: ...


def read_audit_settings(read: Reader) -> AuditSettings:
    """Return what the variables `AUDIT_*` say."""
    return AuditSettings(
        directory=read.optional_path("AUDIT_DIR"),
        file_bytes_max=read.integer("AUDIT_FILE_BYTES", 64 << 20, 1 << 20, 16 << 30),
        files_max=read.integer("AUDIT_FILES", 16, 2, 10_000),
        sync=cast(Sync, read.choice("AUDIT_SYNC", "Interval", ("Always", "Interval", "Never"))),
        otlp=read.choice("AUDIT_OTLP", "Disabled", ("Enabled", "Disabled")) == "Enabled",
        webhook=read.parsed("AUDIT_WEBHOOK", _url, ""),
        webhook_token_file=read.optional_path("AUDIT_WEBHOOK_TOKEN_FILE"),
        webhook_ca=read.optional_path("AUDIT_WEBHOOK_CA"),
        spool_bytes_max=read.integer("AUDIT_SPOOL_BYTES", 16 << 20, 1 << 20, 4 << 30),
        blocking=cast(Blocking, read.choice("AUDIT_BLOCKING", "Never", ("Never", "WhenFull", "WhenFailing"))),
        reads=read.parsed("AUDIT_READS", _fraction, 0.01),
        rules=read.parsed("AUDIT_RULES", parse_rules, ()),
    )


def _url(text: str) -> str:
    url = urlsplit(text)
    if url.scheme not in ("http", "https") or not url.hostname or not text.isprintable() or url.username:
        # Credentials in it would be shown with the settings: they have a file.
        raise ValueError("an http:// or https:// URL, without credentials")
    return text


def _fraction(text: str) -> float:
    if not _FRACTION.fullmatch(text):
        raise ValueError("a fraction from 0 to 1, such as 0.01")
    return float(text)


VARIABLES: Final[tuple[tuple[str, str, str], ...]] = (
    ("AUDIT_DIR", "none", "directory of the files of the audit log; none: no files"),
    ("AUDIT_FILE_BYTES", "67108864", "size from which on the next file of the audit log is begun"),
    ("AUDIT_FILES", "16", "files of the audit log that are kept, 2 to 10000"),
    ("AUDIT_SYNC", "Interval", "when these are synced. Always: with every batch; Interval: once a second; Never"),
    ("AUDIT_OTLP", "Disabled", "Enabled: send the audit log as OTLP logs, by OpenTelemetry's standard variables"),
    ("AUDIT_WEBHOOK", "none", "URL that the audit log is sent to, a POST of a batch of lines of JSON"),
    ("AUDIT_WEBHOOK_TOKEN_FILE", "none", "file with the bearer token for that URL"),
    ("AUDIT_WEBHOOK_CA", "of the system", "file with the authorities that its certificate may be of"),
    ("AUDIT_SPOOL_BYTES", "16777216", "memory for records that a sink of the audit log has not taken; of each"),
    (
        "AUDIT_BLOCKING",
        "Never",
        "when a request is refused with 503, not applied: WhenFull: its record could not be kept until a sink takes "
        "it; WhenFailing: a sink takes none now",
    ),
    ("AUDIT_READS", "0.01", "part of the reads that is recorded where no rule says it, 0 to 1"),
    ("AUDIT_RULES", "none", "JSON list of rules: which requests are recorded, and of which the content"),
)
"""Name, default and description of every variable, as in `collectionstore_node.settings`."""
