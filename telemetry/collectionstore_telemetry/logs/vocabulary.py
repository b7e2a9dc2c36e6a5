"""The form of a log vocabulary, and the events that every program logs. docs/reference/logs.md is generated from these tables.

Each program declares its own events in a table of `LogEvent`. A test walks the code, finds every call in the tables and
every row in a call. Fields hold names, numbers and reasons; never a document, a key, a value, a token or a secret.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")
"""From the most to the least verbose."""

FIELDS: Final[dict[str, str]] = {
    "timestamp": "when, in UTC (RFC 3339)",
    "level": "debug, info, warning or error",
    "event": "what happened; one of the events below",
    "trace_id": "trace of the request or reconcile round being processed, if it is sampled",
    "span_id": "span of it",
    "exception": "the exception and its causes: type, text and frames; texts that may quote data are left out",
}
"""Fields of every line; the last three where they apply."""


class LogEvent(NamedTuple):
    """One event; `levels` has more than one if the level depends on the case. `fields` may be absent if empty.

    `error` says that lines of this event carry `exception`.
    """

    name: str
    levels: tuple[Level, ...]
    meaning: str
    fields: tuple[str, ...] = ()
    error: bool = False


# One line an event, however long: it is a table.
# ruff: noqa: E501
# fmt: off
EVENTS: Final[tuple[LogEvent, ...]] = (
    LogEvent("level.changed", ("info",), "The log level was changed at run time.", ("now", "was", "reason", "seconds")),
    LogEvent("library.logged", ("debug", "info", "warning", "error"), "A library logged a line, or Python a warning.", ("logger", "text"), error=True),
    LogEvent("callback.failed", ("error",), "An uncaught exception reached the event loop.", ("text", "task"), error=True),
    LogEvent("exception.uncaught", ("error",), "An uncaught exception ended the process or a thread, or was raised in a finalizer.", ("place",), error=True),
    LogEvent("tracing.started", ("info",), "Spans of sampled requests are exported to this endpoint.", ("endpoint",)),
    LogEvent("tracing.refused", ("warning",), "The OTEL_* variables ask for an export that is not supported; traces stay off.", ("reason",)),
    LogEvent("tracing.export_failed", ("warning",), "A batch of spans could not be exported and is lost; logged once until an export succeeds.", ("spans",)),
    LogEvent("tracing.export_recovered", ("info",), "Spans are exported again.", ()),
)
# fmt: on
