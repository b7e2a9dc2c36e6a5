"""All series that the operator declares. docs/reference/metrics.md is generated from this table.

The series of a cluster disappear with it. Prometheus' own labels distinguish several operators; only the leader exposes
clusters.
"""

from __future__ import annotations

from typing import Final, get_args

from collectionstore_operator.model.actions import Action
from collectionstore_telemetry.metrics.series import Chapters, Label, Series, counter, gauge, histogram, info

ROUND_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CALL_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

RESULTS: Final = ("Acted", "Waiting", "Settled", "Failed", "Refused", "Standby", "Gone")
ACTIONS: Final = tuple(sorted(kind.__name__ for kind in get_args(Action)))
SPANS: Final = ("exported", "failed", "dropped")
OUTCOMES: Final = ("Done", "Refused", "Unfinished")
KINDS: Final = (
    "CollectionStoreUser",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "PodMonitor",
    "Service",
    "ServiceAccount",
    "StatefulSet",
)
ROLES: Final = ("Leader", "Voter", "Incoming", "Outgoing", "Learner", "ReadReplica", "None", "Unknown")
STATUSES: Final = ("True", "False", "Unknown")

_CLUSTER: Final = (
    Label("namespace", bound="namespaces with a cluster"),
    Label("cluster", bound="number of CollectionStoreCluster resources"),
)
_METHOD: Final = Label("method", bound="HTTP methods of the Kubernetes API")

_PROCESS: Final = (
    info("operator_build", "Version of the operator", Label("version", bound="one value for each process")),
    gauge("operator_is_leader", "1 while this operator holds the Lease, or reconciles a local cluster"),
    gauge("operator_epoch", "Fencing epoch of this operator"),
    gauge("operator_lease_age_seconds", "Time since the Lease was last renewed; absent unless it is held"),
    counter("operator_lease_renew_failures_total", "Failed renewals of the Lease"),
    gauge("operator_loops", "Running reconcile loops, one per cluster"),
    counter("tracing_spans_total", "Spans by export result; 0 while traces are off", Label("result", SPANS)),
)

_ROUNDS: Final = (
    counter("operator_reconciles_total", "Reconcile rounds by result", Label("result", RESULTS)),
    histogram(
        "operator_reconcile_duration_seconds",
        "Time of a reconcile round: observe, plan, update status, act",
        buckets=ROUND_S,
    ),
    counter(
        "operator_errors_total",
        "Errors that ended a reconcile round",
        Label("kind", bound="error classes of the operator"),
    ),
    counter(
        "operator_actions_total",
        "Actions by outcome",
        Label("action", ACTIONS),
        Label("outcome", OUTCOMES),
    ),
    histogram(
        "operator_action_duration_seconds",
        "Time of an action, whatever its outcome",
        Label("action", ACTIONS),
        buckets=ROUND_S,
    ),
    counter(
        "operator_drift_corrected_total",
        "Objects of a cluster that another field manager had changed and that were restored",
        Label("kind", KINDS),
    ),
)

_API: Final = (
    counter(
        "operator_api_requests_total",
        "Attempts of requests to the API server; code 0 means no response",
        _METHOD,
        Label("resource", bound="kinds that the operator uses"),
        Label("code", bound="status codes of the API server"),
    ),
    histogram(
        "operator_api_request_duration_seconds",
        "Time of one attempt of a request to the API server",
        _METHOD,
        buckets=CALL_S,
    ),
    counter("operator_api_retries_total", "Retried requests to the API server"),
)

CLUSTERS: Final = (
    gauge(
        "cluster_condition",
        "1 for the current status of a condition of the cluster",
        *_CLUSTER,
        Label("condition", bound="conditions of the resource"),
        Label("status", STATUSES),
    ),
    gauge("cluster_desired_members", "Desired number of members", *_CLUSTER),
    gauge("cluster_ready_members", "Voters that are caught up and serve requests", *_CLUSTER),
    gauge(
        "cluster_members",
        "Members, and remaining pods and volumes of former members, by role and readiness",
        *_CLUSTER,
        Label("role", ROLES),
        Label("ready", ("true", "false")),
    ),
    gauge("cluster_read_replicas", "Desired number of read replicas", *_CLUSTER),
    gauge("cluster_ready_read_replicas", "Read replicas within their bound of staleness", *_CLUSTER),
    gauge("cluster_released_volumes", "Volumes of members that a scale-down has removed, not deleted yet", *_CLUSTER),
    gauge("cluster_fault_tolerance", "Further voter failures that keep a quorum", *_CLUSTER),
    counter(
        "cluster_actions_total",
        "Actions performed for the cluster since its loop started",
        *_CLUSTER,
        Label("action", ACTIONS),
    ),
    gauge("cluster_plan_steps", "Remaining steps of the plan", *_CLUSTER),
    gauge("cluster_blocked_steps", "Steps of the plan that are blocked", *_CLUSTER),
    gauge(
        "cluster_blocked_since_timestamp_seconds",
        "Since when the longest blocked step has been blocked; absent if no step is",
        *_CLUSTER,
    ),
    gauge("cluster_last_round_timestamp_seconds", "End of the last reconcile round, whatever its result", *_CLUSTER),
    gauge("cluster_certificate_expiry_timestamp_seconds", "Earliest expiry of the cluster's certificates", *_CLUSTER),
)

_SCHEDULE: Final = (*_CLUSTER, Label("schedule", bound="CollectionStoreBackupSchedule resources of the cluster"))
BACKUPS: Final = (
    gauge(
        "backup_condition",
        "1 for the current status of a condition of the schedule",
        *_SCHEDULE,
        Label("condition", bound="conditions of the resource"),
        Label("status", STATUSES),
    ),
    gauge("backup_interval_seconds", "Time between the last and the next time of the schedule", *_SCHEDULE),
    gauge(
        "backup_last_success_timestamp_seconds",
        "When the newest complete backup of the cluster was completed; while there is none, when the schedule was "
        "created, or the cluster got another ID",
        *_SCHEDULE,
    ),
    gauge(
        "backup_last_failure_timestamp_seconds",
        "When the newest failed backup failed; absent if none has",
        *_SCHEDULE,
    ),
    gauge("backup_duration_seconds", "Duration of the newest complete backup", *_SCHEDULE),
    gauge("backup_size_bytes", "Size of the stored data of the newest complete backup", *_SCHEDULE),
    gauge(
        "backup_archive_lag_entries",
        "Log entries that are committed and not archived yet; absent if the archive does not tell",
        *_SCHEDULE,
    ),
    gauge(
        "backup_archive_lag_seconds",
        "For how long something acknowledged may not be archived; absent if the archive does not tell",
        *_SCHEDULE,
    ),
    gauge(
        "backup_archive_lag_revisions",
        "Revisions of the store that are not archived, at most; absent if the archive does not tell",
        *_SCHEDULE,
    ),
    gauge(
        "backup_archive_lag_bytes",
        "Estimated size of the log entries that are not archived; absent if the archive does not tell",
        *_SCHEDULE,
    ),
    gauge(
        "backup_archive_confirmed_timestamp_seconds",
        "When the archive last confirmed how far the cluster is; absent if the archive does not tell",
        *_SCHEDULE,
    ),
    gauge(
        "backup_last_verified_timestamp_seconds",
        "When a restore drill last succeeded; absent before the first",
        *_SCHEDULE,
    ),
    gauge(
        "backup_time_to_restore_seconds",
        "Time that the last restore drill took to restore and open a backup; absent before the first",
        *_SCHEDULE,
    ),
)

_USER: Final = (*_CLUSTER, Label("user", bound="CollectionStoreUser resources of the cluster"))
USERS: Final = (
    gauge(
        "user_condition",
        "1 for the current status of a condition of the user",
        *_USER,
        Label("condition", bound="conditions of the resource"),
        Label("status", STATUSES),
    ),
    gauge("user_credential_expiry_timestamp_seconds", "Expiry of the user's credential; absent without one", *_USER),
)

CHAPTERS: Final[Chapters] = (
    ("Process", _PROCESS),
    ("Rounds and actions", _ROUNDS),
    ("Requests to the API server", _API),
    ("Clusters, exposed by the leading operator", CLUSTERS),
    ("Schedules of backups, exposed by the leading operator", BACKUPS),
    ("Users, exposed by the leading operator", USERS),
)
"""Title and series, in the order of the page."""

SERIES: Final[tuple[Series, ...]] = tuple(series for _, chapter in CHAPTERS for series in chapter)
