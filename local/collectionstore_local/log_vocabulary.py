"""The events that the programs of a local cluster log besides the operator's: the supervisor and the fault proxy.

docs/reference/logs.md is generated from this table. A test finds each call in the table, and each row in a call.
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
    LogEvent("metrics.served", ("info",), "The supervisor serves the operator's metrics at this address.", ("address",)),
    LogEvent("metrics.not_served", ("warning",), "The supervisor cannot serve metrics; it reconciles without them.", ("address", "reason")),
    # Local clusters
    LogEvent("supervisor.started", ("info",), "The supervisor of a local cluster started.", ("pid", "node_command")),
    LogEvent("supervisor.unneeded", ("info",), "Another supervisor holds the lock of this cluster; this one exits.", ("reason",)),
    LogEvent("supervisor.failed", ("error",), "The supervisor failed and exits.", ("reason",)),
    LogEvent("supervisor.ended", ("info",), "The supervisor ended."),
    LogEvent("epoch.raised", ("warning",), "A node had seen a higher fencing epoch than this supervisor, which holds the lock: it goes on with a new one.", ("epoch", "was")),
    LogEvent("node.started", ("info",), "The process of a member was started.", ("node", "pid", "revision")),
    LogEvent("node.adopted", ("info",), "The process of a member was already running and was adopted.", ("node", "pid", "reason")),
    LogEvent("node.ended", ("info",), "The process of a member exited; `wanted` says whether it is restarted.", ("node", "code", "reason", "wanted")),
    LogEvent("node.killed", ("warning",), "The process of a member did not exit after SIGTERM and was killed.", ("node", "reason")),
    LogEvent("nodes.stopped", ("info",), "All processes of the cluster were stopped.", ("reason",)),
    LogEvent("backup_run.started", ("info",), "An attempt of a run for a backup or a schedule was started.", ("run", "pid", "attempt")),
    LogEvent("backup_run.ended", ("info",), "An attempt of a run for a backup or a schedule ended; `state` says whether it is repeated (Active).", ("run", "code", "state")),
    LogEvent("backup_round.failed", ("warning", "error"), "A round of the backups of the cluster failed and is repeated; level error means a bug.", ("error", "detail"), error=True),
    LogEvent("backup_action.performed", ("info",), "An action for a backup or a schedule was performed, for this reason.", ("action", "subject", "reason")),
    LogEvent("backup_action.failed", ("warning",), "An action for a backup or a schedule was refused or did not finish; it is retried.", ("action", "subject", "detail")),
    LogEvent("backup.completed", ("info",), "A CollectionStoreBackup of the cluster is complete.", ("subject", "detail")),
    LogEvent("backup.failed", ("warning",), "A CollectionStoreBackup of the cluster has failed.", ("subject", "reason", "detail")),
    LogEvent("proxy.started", ("info",), "The fault proxy between members started."),
    LogEvent("proxy.unneeded", ("info",), "Another fault proxy of this cluster is running; this one exits.", ("reason",)),
    LogEvent("proxy.ended", ("info",), "The fault proxy ended."),
    LogEvent("faults.changed", ("info",), "The injected faults changed.", ("generation", "faults")),
    LogEvent(
        "fault.armed",
        ("warning",),
        "COLLECTIONSTORE_FAULT_POINT is set: this process dies or stops there. For tests alone.",
        ("point", "effect"),
    ),
    LogEvent("folder.deleted", ("info",), "The directory of the cluster was deleted.", ("file",)),
)
# fmt: on
