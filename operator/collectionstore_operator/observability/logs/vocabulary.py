"""The events that the operator logs besides those of every program. docs/logs.md is generated from this table.

A test walks the code and finds each call in the table, and each row in a call. Fields hold names, numbers and reasons;
never a key, a token or the data of a Secret.
"""

from __future__ import annotations

from typing import Final

from collectionstore_telemetry.logs import LogEvent

FIELDS: Final[dict[str, str]] = {
    "namespace": "namespace of the resource that the line is about, on Kubernetes",
    "cluster": "name of the resource",
}
"""Fields of every line about a resource, besides those that every program has."""

# One line an event, however long: it is a table.
# ruff: noqa: E501
# fmt: off
EVENTS: Final[tuple[LogEvent, ...]] = (
    # The loop
    LogEvent("loop.started", ("info",), "The loop of a resource begins.", ("epoch",)),
    LogEvent("loop.ended", ("info",), "It ended.", ("reason",)),
    LogEvent("round.completed", ("info",), "A round did something; `steps` are what is planned.", ("generation", "actions", "steps", "seconds")),
    LogEvent("round.failed", ("warning", "error"), "A round could not be finished; an error is a bug.", ("error", "detail"), error=True),
    LogEvent("plan.rejected", ("error",), "A plan broke one of its own rules and was not carried out: a bug.", ("detail",)),
    LogEvent("action.performed", ("info",), "An action was done, and why.", ("action", "subject", "reason", "seconds")),
    LogEvent("action.failed", ("warning",), "An action was refused or is not finished; it is tried again later.", ("action", "subject", "outcome", "detail")),
    # Kubernetes
    LogEvent("permission.missing", ("error",), "A permission is missing; the operator ends.", ("permission",)),
    LogEvent("api_server.awaited", ("warning",), "The API server does not answer yet.", ("reason",)),
    LogEvent("api_server.not_configured", ("error",), "Nothing says where the API server is.", ("reason",)),
    LogEvent("api_server.unavailable", ("error",), "The API server does not do what it must.", ("reason",)),
    LogEvent("request.repeated", ("info",), "A call to the API server is tried again.", ("method", "path", "reason", "pause_s")),
    LogEvent("event.not_written", ("warning",), "An Event could not be written.", ("reason", "note", "error")),
    LogEvent("lease.acquired", ("info",), "This operator acts from now on.", ("name", "identity", "epoch")),
    LogEvent("lease.awaited", ("info",), "Another one acts.", ("name", "holder")),
    LogEvent("lease.not_renewed", ("warning",), "The Lease could not be renewed, and is tried again.", ("name", "reason")),
    LogEvent("lease.lost", ("error",), "Another one has taken over, or renewing took too long; the operator ends.", ("reason",)),
    LogEvent("lease.released", ("info",), "Another one may act at once.", ("name",)),
    LogEvent("lease.not_released", ("warning",), "The Lease runs out by itself.", ("name", "reason")),
)
# fmt: on
