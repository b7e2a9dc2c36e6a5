"""The first page to open: health, leadership, service level and capacity."""

from __future__ import annotations

from typing import Final

from collectionstore_dashboards.frame import Page, Row
from collectionstore_dashboards.panels import AMBER, BLUE, GREEN, GREY, RED, Query, above, below, graph, number, states
from collectionstore_dashboards.queries import (
    CLUSTER,
    DATA,
    DURATION,
    READS,
    REQUESTS,
    WRITES,
    failing,
    now,
    quantile,
    rate,
)

_FREE: Final = (
    f"{now('collectionstore_storage_filesystem_available_bytes')} / "
    f"{now('collectionstore_storage_filesystem_size_bytes')}"
)
_UP: Final = now("up", 'job="collectionstore-node"')

GLANCE: Final = Row(
    "At a glance",
    (
        number(
            "Leader",
            "The current leader. Without one, no write and no linearizable read can succeed.",
            "none",
            Query(f"{now('collectionstore_raft_is_leader', scope=CLUSTER)} == 1", "{{instance}}"),
            named=True,
            otherwise="no leader",
            steps=((None, GREEN),),
        ),
        number(
            "Fault tolerance",
            "Voters that may fail before quorum is lost, as the leader sees it. At 0 the next failure is an outage.",
            "none",
            Query(f"max({now('collectionstore_raft_tolerated_failures', scope=CLUSTER)})", "voters"),
            steps=below(0, 1),
            otherwise="no leader",
            decimals=0,
        ),
        number(
            "Members down",
            "Members that Prometheus cannot scrape. More than the fault tolerance means that quorum is lost.",
            "none",
            Query(f"count({_UP}) - sum({_UP})", "members"),
            steps=above(1, 2),
            otherwise="no members",
            decimals=0,
        ),
        number(
            "Failing requests",
            "Share of client requests answered with 5xx. The objective is 0.1 % over 30 days.",
            "percentunit",
            Query(failing(DATA), "share"),
            steps=above(0.001, 0.01),
            otherwise="no requests",
        ),
        number(
            "Write p99",
            "99 of 100 writes are answered within this time, durable on a majority. The objective is 500 ms.",
            "s",
            Query(quantile(0.99, DURATION, where=WRITES), "p99"),
            steps=above(0.1, 0.5),
            otherwise="no writes",
        ),
        number(
            "Worst lag",
            "Entries that the slowest follower is behind. Tens are usual under load; a steady rise is not.",
            "short",
            Query(f"max({now('collectionstore_raft_peer_lag_entries', scope=CLUSTER)})", "entries"),
            steps=above(100, 1000),
            otherwise="no followers",
            decimals=0,
        ),
        number(
            "Alerts firing",
            "Alerts of this cluster that fire now. Each has a runbook; start there.",
            "none",
            Query(
                f'sum(ALERTS{{{CLUSTER}, alertname=~"CollectionStore.*", alertstate="firing"}}) or vector(0)', "alerts"
            ),
            steps=above(1, 2),
            decimals=0,
        ),
        number(
            "Requests",
            "Client requests answered per second, on all members.",
            "reqps",
            Query(rate(REQUESTS, where=DATA), "requests"),
            otherwise="none",
        ),
        number(
            "Read p99",
            "99 of 100 reads are answered within this time. The objective is 250 ms.",
            "s",
            Query(quantile(0.99, DURATION, where=READS), "p99"),
            steps=above(0.1, 0.25),
            otherwise="no reads",
        ),
        number(
            "Least free space",
            "Free share of the fullest volume of a member. Below 10 %, act today.",
            "percentunit",
            Query(f"min({_FREE})", "free"),
            steps=below(0.1, 0.25),
            otherwise="unknown",
        ),
        number(
            "Plan steps",
            "Steps that the operator still has to carry out. More than 0 for long means that it is blocked.",
            "none",
            Query(f"max({now('collectionstore_cluster_plan_steps', scope=CLUSTER)})", "steps"),
            steps=above(1, 20),
            otherwise="no operator",
            decimals=0,
        ),
        number(
            "Earliest certificate expiry",
            "Time until the first certificate of a member expires. The operator renews at 30 days.",
            "s",
            Query(f"min({now('collectionstore_tls_certificate_expiry_timestamp_seconds')}) - time()", "left"),
            steps=below(7 * 86400, 21 * 86400),
            otherwise="no TLS",
        ),
    ),
)

CLIENTS: Final = Row(
    "Rates, errors, latency",
    (
        graph(
            "Requests by kind",
            "Requests answered per second. A sudden drop to 0 while clients are active is an outage.",
            "reqps",
            Query(rate(REQUESTS, where=WRITES), "writes"),
            Query(rate(REQUESTS, where=READS), "reads"),
        ),
        graph(
            "Failing requests by kind",
            "Share of requests answered with 5xx. At the dashed line the 30-day objective is just met.",
            "percentunit",
            Query(failing(WRITES), "writes"),
            Query(failing(READS), "reads"),
            limits=((None, GREEN), (0.001, RED)),
        ),
        graph(
            "Latency",
            "Time to the response, on the member that received the request. p99 far above p50: fsync or a stall.",
            "s",
            Query(quantile(0.99, DURATION, where=WRITES), "writes p99"),
            Query(quantile(0.5, DURATION, where=WRITES), "writes p50"),
            Query(quantile(0.99, DURATION, where=READS), "reads p99"),
            Query(quantile(0.5, DURATION, where=READS), "reads p50"),
            log=True,
        ),
    ),
)

MEMBERS: Final = Row(
    "Members and leadership",
    (
        states(
            "Leadership",
            "One bar per member, green while it is the leader. Many short bars mean unstable leadership.",
            Query(now("collectionstore_raft_is_leader"), "{{instance}}"),
            words=(("1", "leads", GREEN), ("0", "follows", GREY)),
            width=8,
            height=8,
        ),
        states(
            "Members up",
            "Green while Prometheus reaches the member. Red is a process that is down, hangs or is partitioned.",
            Query(_UP, "{{instance}}"),
            words=(("1", "up", GREEN), ("0", "down", RED)),
            width=8,
            height=8,
        ),
        graph(
            "Lag of followers",
            "Entries that each follower is behind the leader. If one rises alone, that member is slow or partitioned.",
            "short",
            Query(f"max by (peer) ({now('collectionstore_raft_peer_lag_entries', scope=CLUSTER)})", "{{peer}}"),
            limits=((None, GREEN), (1000, RED)),
        ),
    ),
)

CAPACITY: Final = Row(
    "Capacity",
    (
        graph(
            "Free space",
            "Free share of each member's volume. The dashed line is the threshold of CollectionStoreDiskAlmostFull.",
            "percentunit",
            Query(_FREE, "{{instance}}"),
            top=1,
            limits=((None, RED), (0.1, GREEN)),
        ),
        graph(
            "fsync, p99",
            "Time to make appended entries durable. Every write waits for it twice: on the leader and on a follower.",
            "s",
            Query(quantile(0.99, "collectionstore_storage_wal_fsync_duration_seconds", "instance"), "{{instance}}"),
            log=True,
        ),
        graph(
            "Processor",
            "CPU seconds per second. A member runs its event loop on one core: near 1 it is saturated.",
            "percentunit",
            Query(rate("process_cpu_seconds_total", "instance", 'job="collectionstore-node"'), "{{instance}}"),
        ),
        graph(
            "Memory",
            "Resident memory of each member.",
            "bytes",
            Query(now("process_resident_memory_bytes", 'job="collectionstore-node"'), "{{instance}}"),
        ),
        graph(
            "Queue of commands",
            "Share of the leader's command queue in use. At 100 %, writes are rejected with 503.",
            "percentunit",
            Query(
                f"{now('collectionstore_raft_proposals_waiting')} / "
                f"{now('collectionstore_raft_proposals_waiting_max')}",
                "{{instance}}",
            ),
            top=1,
        ),
        graph(
            "Requests being served",
            "Share of the request limit in use. At 100 %, requests are rejected with 503.",
            "percentunit",
            Query(
                f"{now('collectionstore_http_inflight_requests')} / "
                f"{now('collectionstore_http_inflight_requests_max')}",
                "{{instance}}",
            ),
            top=1,
        ),
    ),
)

OPERATOR: Final = Row(
    "Conditions reported by the operator",
    (
        states(
            "Conditions",
            "Conditions of the resource, green while True. Ready requires all conditions below it.",
            Query(
                "max by (condition) ("
                + now(
                    "collectionstore_cluster_condition",
                    'status="True", condition=~"Ready|Available|QuorumSafe|MembersUpdated|CertificatesReady"',
                    scope=CLUSTER,
                )
                + ")",
                "{{condition}}",
            ),
            words=(("1", "holds", GREEN), ("0", "does not hold", RED)),
            width=12,
            height=8,
        ),
        states(
            "Progressing and Degraded",
            "Progressing: a change is being rolled out. Degraded: a member is unhealthy.",
            Query(
                "max by (condition) ("
                + now(
                    "collectionstore_cluster_condition",
                    'status="True", condition=~"Progressing|Degraded|Paused"',
                    scope=CLUSTER,
                )
                + ")",
                "{{condition}}",
            ),
            words=(("1", "so it is", AMBER), ("0", "no", GREY)),
            width=6,
            height=8,
        ),
        graph(
            "Desired and ready members",
            "Members that the resource specifies, and those that vote, are up to date and serve.",
            "none",
            Query(f"max({now('collectionstore_cluster_desired_members', scope=CLUSTER)})", "desired"),
            Query(f"max({now('collectionstore_cluster_ready_members', scope=CLUSTER)})", "ready"),
            Query(f"max({now('collectionstore_cluster_fault_tolerance', scope=CLUSTER)})", "may still fail"),
            width=6,
        ),
    ),
)

BUDGETS: Final = Row(
    "Error budgets",
    (
        graph(
            "Burn rate of writes",
            "Consumption of the budget of failed or slow writes: at 1 it lasts 30 days, at 14.4 two days.",
            "none",
            Query(f"max(cluster:collectionstore_writes:burn1h{{{CLUSTER}}})", "1 hour"),
            Query(f"max(cluster:collectionstore_writes:burn6h{{{CLUSTER}}})", "6 hours"),
            Query(f"max(cluster:collectionstore_writes:burn3d{{{CLUSTER}}})", "3 days"),
            limits=((None, GREEN), (1, AMBER), (14.4, RED)),
        ),
        graph(
            "Burn rate of reads",
            "Consumption of the budget of failed or slow reads: at 1 it lasts 30 days, at 14.4 two days.",
            "none",
            Query(f"max(cluster:collectionstore_reads:burn1h{{{CLUSTER}}})", "1 hour"),
            Query(f"max(cluster:collectionstore_reads:burn6h{{{CLUSTER}}})", "6 hours"),
            Query(f"max(cluster:collectionstore_reads:burn3d{{{CLUSTER}}})", "3 days"),
            limits=((None, GREEN), (1, AMBER), (14.4, RED)),
        ),
        number(
            "Versions",
            "Running versions; more than one only during an upgrade.",
            "none",
            Query(f"count by (version) ({now('collectionstore_build_info', scope=CLUSTER)})", "{{version}}"),
            named=True,
            width=4,
            steps=((None, BLUE),),
        ),
        number(
            "Revision",
            "Commands applied since the cluster was created; constant while nothing is written.",
            "short",
            Query(f"max({now('collectionstore_revision', scope=CLUSTER)})", "revision"),
            width=4,
        ),
    ),
)

PAGE: Final = Page(
    "overview",
    "Collection Store / Overview",
    "One cluster: health, leadership, service level and capacity.",
    (GLANCE, CLIENTS, MEMBERS, CAPACITY, OPERATOR, BUDGETS),
)
