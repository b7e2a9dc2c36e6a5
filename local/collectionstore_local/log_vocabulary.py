"""The events that the programs of a local cluster log besides the operator's: the supervisor and the fault proxy.

docs/logs.md is generated from this table. A test finds each call in the table, and each row in a call.
"""

from __future__ import annotations

from typing import Final

from collectionstore_telemetry.logs import LogEvent

FIELDS: Final[dict[str, str]] = {"cluster": "name of the cluster"}
"""Fields of every line, besides those that every program has."""

# One line an event, however long: it is a table.
# ruff: noqa: E501
# fmt: off
EVENTS: Final[tuple[LogEvent, ...]] = (
    # Metrics of a local cluster
    LogEvent("metrics.served", ("info",), "The supervisor serves the operator's metrics here.", ("address",)),
    LogEvent("metrics.not_served", ("warning",), "It cannot; the cluster is looked after all the same.", ("address", "reason")),
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
