"""The one table of every series that the operator has of its own. docs/metrics.md is made from it.

What is told of a cluster goes with it. Two operators are told apart by Prometheus' own labels; only the one that leads
has clusters to tell of.
"""

from __future__ import annotations

from typing import Final, get_args

from collectionstore_operator.model.actions import Action
from collectionstore_telemetry.metrics.series import Chapters, Label, Series, counter, gauge, histogram, info

ROUND_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
CALL_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

RESULTS: Final = ("Acted", "Waiting", "Settled", "Failed", "Refused", "Gone")
ACTIONS: Final = tuple(sorted(kind.__name__ for kind in get_args(Action)))
SPANS: Final = ("exported", "failed", "dropped")
OUTCOMES: Final = ("Done", "Refused", "Unfinished")
ROLES: Final = ("Leader", "Voter", "Incoming", "Outgoing", "Learner", "None", "Unknown")
STATUSES: Final = ("True", "False", "Unknown")

_CLUSTER: Final = (
    Label("namespace", bound="namespaces with a cluster"),
    Label("cluster", bound="resources there are"),
)
_METHOD: Final = Label("method", bound="methods of HTTP that the API server knows")

_PROCESS: Final = (
    info("operator_build", "Which build of the operator runs", Label("version", bound="one value for each process")),
    gauge("operator_is_leader", "1 while this operator acts: it holds the Lease, or looks after a local cluster"),
    gauge("operator_epoch", "Fencing epoch of this operator"),
    gauge("operator_lease_age_seconds", "Since when the Lease was not renewed; told while it is held"),
    counter("operator_lease_renew_failures_total", "Times that the Lease could not be renewed"),
    gauge("operator_loops", "Clusters whose loop runs"),
    counter("tracing_spans_total", "Spans by what became of them; none while traces are off", Label("result", SPANS)),
)

_ROUNDS: Final = (
    counter("operator_reconciles_total", "Rounds, by what came of them", Label("result", RESULTS)),
    histogram("operator_reconcile_duration_seconds", "Time of a round: look, plan, report, act", buckets=ROUND_S),
    counter(
        "operator_errors_total",
        "Troubles that ended a round",
        Label("kind", bound="classes of errors of the operator"),
    ),
    counter(
        "operator_actions_total",
        "Actions, by what came of them",
        Label("action", ACTIONS),
        Label("outcome", OUTCOMES),
    ),
    histogram(
        "operator_action_duration_seconds",
        "Time of an action, whatever came of it",
        Label("action", ACTIONS),
        buckets=ROUND_S,
    ),
)

_API: Final = (
    counter(
        "operator_api_requests_total",
        "Tries of requests to the API server; code 0 is no answer",
        _METHOD,
        Label("resource", bound="kinds that the operator deals with"),
        Label("code", bound="statuses of the API server"),
    ),
    histogram(
        "operator_api_request_duration_seconds",
        "Time of one try of a request to the API server",
        _METHOD,
        buckets=CALL_S,
    ),
    counter("operator_api_retries_total", "Tries of requests that were repeated"),
)

CLUSTERS: Final = (
    gauge(
        "cluster_condition",
        "1 for the status that a condition of a cluster has",
        *_CLUSTER,
        Label("condition", bound="conditions of the resource"),
        Label("status", STATUSES),
    ),
    gauge("cluster_desired_members", "Members that are wanted", *_CLUSTER),
    gauge("cluster_ready_members", "Members that vote, have caught up and serve", *_CLUSTER),
    gauge(
        "cluster_members",
        "Members, and pods and volumes left of them, by the part they play and whether they are ready",
        *_CLUSTER,
        Label("role", ROLES),
        Label("ready", ("true", "false")),
    ),
    gauge("cluster_fault_tolerance", "How many more voters may fail now", *_CLUSTER),
    counter(
        "cluster_actions_total",
        "Actions that were done for a cluster; since its loop began",
        *_CLUSTER,
        Label("action", ACTIONS),
    ),
    gauge("cluster_plan_steps", "Steps that remain to be done", *_CLUSTER),
    gauge("cluster_blocked_steps", "Steps among these that wait for something", *_CLUSTER),
    gauge(
        "cluster_blocked_since_timestamp_seconds",
        "Since when the step waits that has waited longest; not told while none does",
        *_CLUSTER,
    ),
    gauge("cluster_last_round_timestamp_seconds", "When the last round ended, whatever came of it", *_CLUSTER),
    gauge("cluster_certificate_expiry_timestamp_seconds", "When the first certificate expires", *_CLUSTER),
)

CHAPTERS: Final[Chapters] = (
    ("Process", _PROCESS),
    ("Rounds and actions", _ROUNDS),
    ("Calls to the API server", _API),
    ("Clusters, told by the operator that leads", CLUSTERS),
)
"""Title and series, in the order of the page."""

SERIES: Final[tuple[Series, ...]] = tuple(series for _, chapter in CHAPTERS for series in chapter)
