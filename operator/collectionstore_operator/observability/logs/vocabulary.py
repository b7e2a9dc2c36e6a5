"""The events that the operator logs besides those of every program. docs/reference/logs.md is generated from this table.

A test walks the code and finds each call in the table, and each row in a call. Fields hold names, numbers and reasons;
never a key, a token or the data of a Secret.
"""

from __future__ import annotations

from typing import Final

from collectionstore_telemetry.logs import LogEvent

FIELDS: Final[dict[str, str]] = {
    "namespace": "namespace of the resource that the line is about, on Kubernetes",
    "cluster": "name of the resource",
    "owner": "kind and name of the resource, if it is a backup, schedule, user or role",
}
"""Fields of every line about a resource, besides those that every program has."""

# One line an event, however long: it is a table.
# ruff: noqa: E501
# fmt: off
EVENTS: Final[tuple[LogEvent, ...]] = (
    # The loop
    LogEvent("loop.started", ("info",), "The reconcile loop of a resource started.", ("epoch",)),
    LogEvent("round.standby", ("warning",), "Another operator may act on the cluster; this one waits.", ("reason",)),
    LogEvent("status.stale", ("error",), "Rounds have failed for so long that the conditions were set to Unknown.", ("seconds", "detail")),
    LogEvent("status.not_written", ("warning",), "The status that says that rounds fail could not be written.", ("detail",)),
    LogEvent("loop.ended", ("info",), "The reconcile loop of a resource ended.", ("reason",)),
    LogEvent("round.completed", ("info",), "A reconcile round performed actions; `steps` lists its plan.", ("generation", "actions", "steps", "seconds")),
    LogEvent("round.failed", ("warning", "error"), "A reconcile round failed; level error means a bug.", ("error", "detail"), error=True),
    LogEvent("plan.rejected", ("error",), "A plan violated an invariant and was not executed: a bug.", ("detail",)),
    LogEvent("action.performed", ("info",), "An action was performed, for this reason.", ("action", "subject", "reason", "seconds")),
    LogEvent("action.failed", ("warning",), "An action was refused or did not finish; it is retried in a later round.", ("action", "subject", "outcome", "detail")),
    # Backups
    LogEvent("backup.completed", ("info",), "A CollectionStoreBackup is complete.", ("subject", "detail")),
    LogEvent("backup.failed", ("warning",), "A CollectionStoreBackup has failed.", ("subject", "reason", "detail")),
    LogEvent("backup_round.failed", ("warning", "error"), "A round of a backup, schedule, user or role failed and is repeated; level error means a bug.", ("error", "detail"), error=True),
    LogEvent("backup_action.performed", ("info",), "An action for a backup or a schedule was performed, for this reason.", ("action", "subject", "reason")),
    LogEvent("backup_action.failed", ("warning",), "An action for a backup or a schedule was refused or did not finish; it is retried.", ("action", "subject", "detail")),
    LogEvent("access_action.performed", ("info",), "An action for a user or a role was performed, for this reason.", ("action", "subject", "reason")),
    LogEvent("access_action.failed", ("warning",), "An action for a user or a role was refused or did not finish; it is retried.", ("action", "subject", "detail")),
    LogEvent("backups.not_listed", ("warning",), "The backups of the namespace could not be read; status.restore does not say which revision would be restored.", ("reason",)),
    LogEvent("schedules.not_listed", ("warning",), "The schedules of backups could not be read; the condition BackupReady stays as it was.", ("reason",)),
    # Kubernetes
    LogEvent("permission.missing", ("error",), "A required RBAC permission is missing; the operator exits.", ("permission",)),
    LogEvent("api_server.awaited", ("warning",), "The API server does not respond yet.", ("reason",)),
    LogEvent("api_server.not_configured", ("error",), "No kubeconfig and no service account name an API server.", ("reason",)),
    LogEvent("api_server.unavailable", ("error",), "The API server failed a request that the operator cannot start without.", ("reason",)),
    LogEvent("request.repeated", ("info",), "A request to the API server is retried.", ("method", "path", "reason", "pause_s")),
    LogEvent("resources.not_listed", ("warning",), "The periodic list of all resources failed; the watch and the next list go on.", ("reason",)),
    LogEvent("watch.broken", ("warning",), "A watch broke and is continued; if that lasts, reads go to the API server.", ("resource", "reason")),
    LogEvent("watch.expired", ("info",), "A watch has lost its place in the history; everything is listed again.", ("resource", "reason")),
    LogEvent("watch.failed", ("error",), "What a list or watch sent could not be taken, which means a bug; until it is listed again reads go to the API server.", ("resource",), error=True),
    LogEvent("watch.not_comparable", ("error",), "The API server has resourceVersions that are no numbers: nothing of this resource is cached.", ("resource", "reason")),
    LogEvent("volume.kept", ("warning",), "A volume that a restore in place was to delete is left alone: it has another claim by now, or none.", ("name", "reason")),
    LogEvent("caches.incomplete", ("warning",), "Not everything was listed in time; the loops start and read from the API server.", ("resources",)),
    LogEvent("fault.armed", ("warning",), "COLLECTIONSTORE_FAULT_POINT is set: this process dies or stops there. For tests alone.", ("point", "effect")),
    LogEvent("event.not_written", ("warning",), "An Event could not be created.", ("reason", "note", "error")),
    LogEvent("condition.changed", ("info", "warning"), "A condition of the resource changed its status; warning if for the worse.", ("type", "status", "reason", "detail")),
    LogEvent("tenure.taken", ("info",), "This operator holds the Lease of a cluster and acts on it from now on.", ("name", "holder", "epoch")),
    LogEvent("lease.acquired", ("info",), "This operator holds the Lease and reconciles from now on.", ("name", "identity", "epoch")),
    LogEvent("lease.awaited", ("info",), "Another operator holds the Lease; this one waits.", ("name", "holder")),
    LogEvent("lease.not_renewed", ("warning",), "The Lease could not be renewed and is retried.", ("name", "reason")),
    LogEvent("lease.lost", ("error",), "Another operator acquired the Lease, or it could not be renewed in time; the operator exits.", ("reason",)),
    LogEvent("lease.released", ("info",), "The Lease was released; another operator can acquire it at once.", ("name",)),
    LogEvent("lease.not_released", ("warning",), "The Lease could not be released; it expires.", ("name", "reason")),
)
# fmt: on
