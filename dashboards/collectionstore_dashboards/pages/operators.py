"""The operator: does it turn, what does it do, what holds it up."""

from __future__ import annotations

from typing import Final

from collectionstore_dashboards.frame import Page, Row, Variables
from collectionstore_dashboards.panels import (
    AMBER,
    GREEN,
    GREY,
    RED,
    Column,
    Query,
    above,
    below,
    graph,
    grid,
    number,
    states,
)
from collectionstore_dashboards.queries import CLUSTER, OPERATOR, WINDOW, now, quantile, rate, rises

_EACH: Final = "{{instance}}"
_JOB: Final = 'job="collectionstore-operator"'
_KEYS: Final = "namespace, cluster"
_FAILED_ROUNDS: Final = rate("collectionstore_operator_reconciles_total", where='result="Failed"', scope=OPERATOR)


def _own(series: str, where: str = "") -> str:
    return now(f"collectionstore_operator_{series}", where, scope=OPERATOR)


def _told(series: str, where: str = "", by: str = _KEYS) -> str:
    return f"max by ({by}) ({now(f'collectionstore_cluster_{series}', where, scope=CLUSTER)})"


def _schedule(series: str) -> str:
    return f"max by (namespace, cluster, schedule) ({now(f'collectionstore_backup_{series}', scope=CLUSTER)})"


_NOT_MET: Final = now("collectionstore_backup_condition", 'status="False"', scope=CLUSTER)
BACKUPS: Final = Row(
    "Backups",
    (
        grid(
            "Schedules",
            "The newest backup of each schedule, its archive, and its last restore drill.",
            Column("Age", f"time() - {_schedule('last_success_timestamp_seconds')}", "s"),
            Column("Interval", _schedule("interval_seconds"), "s"),
            Column("Failed", f"time() - {_schedule('last_failure_timestamp_seconds')}", "s"),
            Column("Duration", _schedule("duration_seconds"), "s"),
            Column("Size", _schedule("size_bytes"), "bytes"),
            Column("Archive lag", _schedule("archive_lag_entries"), "short", above(10_000, 100_000)),
            Column(
                "Archive heard", f"time() - {_schedule('archive_confirmed_timestamp_seconds')}", "s", above(60, 300)
            ),
            Column("Verified", f"time() - {_schedule('last_verified_timestamp_seconds')}", "s"),
            Column("Time to restore", _schedule("time_to_restore_seconds"), "s"),
            keys=("namespace", "cluster", "schedule"),
            width=24,
            height=6,
        ),
        states(
            "Conditions of schedules",
            "Conditions of the schedules with status False.",
            Query(
                f"max by (namespace, schedule, condition) ({_NOT_MET})",
                "{{namespace}}/{{schedule}} {{condition}}",
            ),
            words=(("1", "False", RED), ("0", "not False", GREY)),
            width=24,
            height=6,
        ),
    ),
)

STANDING: Final = Row(
    "Operator health",
    (
        number(
            "Active operator",
            "The holder of the Lease. Without one, nothing is reconciled.",
            "none",
            Query(f"{_own('is_leader')} == 1", _EACH),
            named=True,
            otherwise="none",
            steps=((None, GREEN),),
        ),
        number(
            "Oldest reconciliation",
            "Time since the last reconciliation, of the cluster with the oldest one. The interval is a few seconds.",
            "s",
            Query(f"time() - min({_told('last_round_timestamp_seconds')})", "age"),
            steps=above(60, 300),
            otherwise="no clusters",
        ),
        number(
            "Failed reconciliations",
            "Share of reconciliations that end with an error.",
            "percentunit",
            Query(
                f"{_FAILED_ROUNDS} / {rate('collectionstore_operator_reconciles_total', scope=OPERATOR)}",
                "share",
            ),
            steps=above(0.05, 0.5),
        ),
        number(
            "Blocked for",
            "How long the oldest blocked step of a plan has been waiting.",
            "s",
            Query(f"time() - min({_told('blocked_since_timestamp_seconds')})", "age"),
            steps=above(600, 1800),
            otherwise="nothing waits",
        ),
        number(
            "Clusters",
            "Clusters whose reconcile loop runs.",
            "none",
            Query(f"sum({_own('loops')})", "clusters"),
            decimals=0,
        ),
        number(
            "Age of the Lease",
            "Time since the Lease was renewed. An operator that cannot renew it stops acting.",
            "s",
            Query(f"min({_own('lease_age_seconds')})", "age"),
            steps=above(10, 15),
            otherwise="no Lease",
        ),
    ),
)

CLUSTERS: Final = Row(
    "Clusters as observed by the operator",
    (
        grid(
            "Clusters",
            "Members, plan and certificates of each selected cluster.",
            Column("Wanted", _told("desired_members"), "none"),
            Column("Ready", _told("ready_members"), "none"),
            Column("Fault tolerance", _told("fault_tolerance"), "none", below(0, 1)),
            Column("Steps", _told("plan_steps"), "none"),
            Column("Blocked steps", _told("blocked_steps"), "none", above(1, 10)),
            Column("Blocked for", f"time() - {_told('blocked_since_timestamp_seconds')}", "s", above(600, 1800)),
            Column("Last round", f"time() - {_told('last_round_timestamp_seconds')}", "s", above(60, 300)),
            Column(
                "Earliest certificate expiry",
                f"{_told('certificate_expiry_timestamp_seconds')} - time()",
                "s",
                below(7 * 86400, 21 * 86400),
            ),
            keys=("namespace", "cluster"),
            width=24,
            height=7,
        ),
        states(
            "Conditions",
            "Conditions of the cluster with status True.",
            Query(
                _told("condition", 'status="True"', by=f"{_KEYS}, condition"), "{{namespace}}/{{cluster}} {{condition}}"
            ),
            words=(("1", "True", GREEN), ("0", "not True", GREY)),
            width=12,
            height=8,
        ),
        graph(
            "Members by role",
            "Members as the operator observes them; role None is a pod or volume that is not a member.",
            "none",
            Query(f"{_told('members', by='role, ready')} > 0", "{{role}}, ready {{ready}}"),
            width=12,
            stacked=True,
        ),
        graph(
            "Plan",
            "Steps that remain, and those of them that are blocked.",
            "short",
            Query(_told("plan_steps"), "{{namespace}}/{{cluster}} steps"),
            Query(_told("blocked_steps"), "{{namespace}}/{{cluster}} blocked"),
            width=12,
        ),
        graph(
            "Age of the last reconciliation",
            "A rising line is a reconcile loop that hangs.",
            "s",
            Query(f"time() - {_told('last_round_timestamp_seconds')}", "{{namespace}}/{{cluster}}"),
            width=12,
        ),
    ),
)

WORK: Final = Row(
    "Reconciliations and actions",
    (
        graph(
            "Rounds",
            "Reconciliations per second by result. Settled is usual; investigate Failed and Refused.",
            "cps",
            Query(rate("collectionstore_operator_reconciles_total", "result", scope=OPERATOR), "{{result}}"),
        ),
        graph(
            "Reconciliation time",
            "Look, plan, report, act.",
            "s",
            Query(quantile(0.99, "collectionstore_operator_reconcile_duration_seconds", scope=OPERATOR), "p99"),
            Query(quantile(0.5, "collectionstore_operator_reconcile_duration_seconds", scope=OPERATOR), "p50"),
            log=True,
        ),
        graph(
            "Errors by kind",
            "Errors that ended a reconciliation, by kind.",
            "short",
            Query(rises("collectionstore_operator_errors_total", "kind", scope=OPERATOR), "{{kind}}"),
        ),
        graph(
            "Actions",
            "Actions by result. Unfinished actions are checked again in the next reconciliation.",
            "short",
            Query(
                f"{rises('collectionstore_operator_actions_total', 'action, outcome', scope=OPERATOR)} > 0",
                "{{action}} {{outcome}}",
            ),
            width=12,
        ),
        graph(
            "Time of actions",
            "Mean time of one, by action.",
            "s",
            Query(
                f"{rate('collectionstore_operator_action_duration_seconds_sum', 'action', scope=OPERATOR)} / "
                f"({rate('collectionstore_operator_action_duration_seconds_count', 'action', scope=OPERATOR)} > 0)",
                "{{action}}",
            ),
            width=12,
        ),
    ),
)

SERVER: Final = Row(
    "API server and Lease",
    (
        graph(
            "Requests to the API server",
            "Attempts per second by method and code; code 0 means no response.",
            "reqps",
            Query(
                rate("collectionstore_operator_api_requests_total", "method, code", scope=OPERATOR),
                "{{method}} {{code}}",
            ),
        ),
        graph(
            "Requests by resource",
            "Requests per second by kind of object.",
            "reqps",
            Query(rate("collectionstore_operator_api_requests_total", "resource", scope=OPERATOR), "{{resource}}"),
        ),
        graph(
            "Time of a request, p99",
            "One attempt of a request to the API server.",
            "s",
            Query(
                quantile(0.99, "collectionstore_operator_api_request_duration_seconds", "method", scope=OPERATOR),
                "{{method}}",
            ),
            log=True,
        ),
        graph(
            "Retries",
            "Requests that were retried.",
            "cps",
            Query(rate("collectionstore_operator_api_retries_total", "instance", scope=OPERATOR), _EACH),
        ),
        states(
            "Lease holder",
            "The active operator. Two bars at once are two holders: the fencing epoch stops the older one.",
            Query(_own("is_leader"), _EACH),
            words=(("1", "acts", GREEN), ("0", "stands by", GREY)),
            width=8,
            height=8,
        ),
        graph(
            "Lease",
            "Failed renewals, and changes of the fencing epoch (each is another operator).",
            "short",
            Query(
                rises("collectionstore_operator_lease_renew_failures_total", "instance", scope=OPERATOR),
                "{{instance}} failed",
            ),
            Query(f"changes({_own('epoch')}[{WINDOW}])", "{{instance}} epoch"),
        ),
        graph(
            "Processor",
            "CPU seconds per second.",
            "percentunit",
            Query(rate("process_cpu_seconds_total", "instance", _JOB, scope=OPERATOR), _EACH),
        ),
        graph(
            "Memory",
            "Resident memory.",
            "bytes",
            Query(now("process_resident_memory_bytes", _JOB, scope=OPERATOR), _EACH),
        ),
        states(
            "Versions",
            "The running version.",
            Query(_own("build_info"), "{{instance}} {{version}}"),
            words=(("1", "runs", GREEN), ("0", "gone", RED), ("2", "twice", AMBER)),
            width=8,
            height=8,
        ),
    ),
)

PAGE: Final = Page(
    "operator",
    "Collection Store / Operator",
    "Reconciliations, plans, actions and API server requests of the operator and its clusters.",
    (STANDING, CLUSTERS, BACKUPS, WORK, SERVER),
    Variables(
        clusters="collectionstore_cluster_desired_members",
        instances="collectionstore_operator_is_leader",
        instance_scope="",
        several=True,
        instance_label="Operator",
    ),
)
