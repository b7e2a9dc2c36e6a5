"""Logging of the operator, and of the supervisor of a local cluster, which runs the same loop."""

from __future__ import annotations

from typing import Final, TextIO

from collectionstore_telemetry import logs
from collectionstore_telemetry.logs import Format, Level, LogLevels

QUIET_LOGGERS: Final = ("kopf", "kubernetes", "kubernetes.aio")
"""At `info` kopf logs every event that it handles, and both log patches and bodies, which may hold Secrets."""
QUOTING_PACKAGES: Final = ("kopf", "kubernetes")
"""The client's exceptions quote the API server's answer, which may be a Secret."""


def configure(
    *, level: Level = "info", format_: Format = "json", output: TextIO | None = None, **bound: str
) -> LogLevels:
    """Set up logging for the process, to `output` or stderr; `bound` values are on every line."""
    return logs.configure(
        level=level,
        format_=format_,
        output=output,
        quiet_loggers=QUIET_LOGGERS,
        quoting_packages=QUOTING_PACKAGES,
        **bound,
    )
