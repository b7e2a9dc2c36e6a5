"""Every event that the operator and the supervisor of a local cluster log. docs/logs.md is made from it.

A test walks the code and finds each call in here, and each line of here in a call. Fields hold names, numbers and the
reasons of refusals; never a key, a certificate's key, a token or what is in a Secret.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Level = Literal["debug", "info", "warning", "error"]
LEVELS: Final[tuple[Level, ...]] = ("debug", "info", "warning", "error")

FIELDS: Final[dict[str, str]] = {
    "timestamp": "when, in UTC (RFC 3339)",
    "level": "debug, info, warning or error",
    "event": "what happened; one of the events below",
    "namespace": "of the resource that a line is about, on Kubernetes",
    "cluster": "the resource's name",
    "trace_id": "the trace of the request or round that is being served, when it is sampled",
    "span_id": "its span",
    "exception": "the error behind it: type, text and frames, the cause last; texts that may quote data are left out",
}
"""On every line where they apply."""


class LogEvent(NamedTuple):
    """One event; `levels` has more than one where it depends on the case. `fields` may be missing where they are empty.

    `error` says that the exception behind it is on the line.
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
    # The loop
    LogEvent("loop.started", ("info",), "The loop of a resource begins.", ("epoch",)),
    LogEvent("loop.ended", ("info",), "It ended.", ("reason",)),
    LogEvent("round.completed", ("info",), "A round did something; `steps` are what is planned.", ("generation", "actions", "steps", "seconds")),
    LogEvent("round.failed", ("warning", "error"), "A round could not be finished; an error is a bug.", ("error", "detail"), error=True),
    LogEvent("plan.rejected", ("error",), "A plan broke one of its own rules and was not carried out: a bug.", ("detail",)),
    LogEvent("action.performed", ("info",), "An action was done, and why.", ("action", "subject", "reason", "seconds")),
    LogEvent("action.failed", ("warning",), "An action was refused or is not finished; it is tried again later.", ("action", "subject", "outcome", "detail")),
    # The process
    LogEvent("level.changed", ("info",), "The log level was changed at run time.", ("now", "was", "reason")),
    LogEvent("library.logged", ("debug", "info", "warning", "error"), "A library said something, through the standard library's logging or warnings.", ("logger", "text"), error=True),
    LogEvent("callback.failed", ("error",), "An exception reached the event loop, which nobody else had caught.", ("text", "task"), error=True),
    LogEvent("exception.uncaught", ("error",), "An exception ended the process or a thread, or came up where none can be raised.", ("place",), error=True),
    # Traces
    LogEvent("tracing.started", ("info",), "Spans of sampled requests go to this endpoint.", ("endpoint",)),
    LogEvent("tracing.refused", ("warning",), "Traces are asked for in a way that cannot be; there are none.", ("reason",)),
    LogEvent("tracing.export_failed", ("warning",), "Spans could not be delivered and are lost; told once until it works again.", ("spans",)),
    LogEvent("tracing.export_recovered", ("info",), "Spans arrive again.", ()),
    # Metrics of a local cluster
    LogEvent("metrics.served", ("info",), "The supervisor serves the operator's metrics here.", ("address",)),
    LogEvent("metrics.not_served", ("warning",), "It cannot; the cluster is looked after all the same.", ("address", "reason")),
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
    # Local clusters
    LogEvent("supervisor.started", ("info",), "The supervisor of a local cluster begins.", ("pid", "node_command")),
    LogEvent("supervisor.unneeded", ("info",), "Another one is in charge.", ("reason",)),
    LogEvent("supervisor.failed", ("error",), "It cannot go on.", ("reason",)),
    LogEvent("supervisor.ended", ("info",), "It ended."),
    LogEvent("node.started", ("info",), "A member's process was started.", ("node", "pid", "revision")),
    LogEvent("node.adopted", ("info",), "A member's process ran already.", ("node", "pid", "reason")),
    LogEvent("node.ended", ("info",), "A member's process ended; `wanted` says whether it is started again.", ("node", "code", "reason", "wanted")),
    LogEvent("node.killed", ("warning",), "A member's process did not stop when asked to.", ("node", "reason")),
    LogEvent("nodes.stopped", ("info",), "All processes of the cluster were stopped.", ("reason",)),
    LogEvent("proxy.started", ("info",), "The process that makes faults between members begins."),
    LogEvent("proxy.unneeded", ("info",), "Another one stands already.", ("reason",)),
    LogEvent("proxy.ended", ("info",), "It ended."),
    LogEvent("faults.changed", ("info",), "Other faults are in force.", ("generation", "faults")),
    LogEvent("folder.deleted", ("info",), "The cluster's folder is gone.", ("file",)),
)
# fmt: on
