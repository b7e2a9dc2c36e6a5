"""Requests, responses and errors, as clients see them."""

from __future__ import annotations

from typing import Final

from collectionstore_dashboards.frame import Page, Row
from collectionstore_dashboards.panels import AMBER, GREEN, RED, Query, above, graph, number
from collectionstore_dashboards.queries import (
    DATA,
    DURATION,
    FAILED,
    READS,
    REQUESTS,
    WRITES,
    failing,
    now,
    quantile,
    rate,
    rises,
)

SERVICE: Final = Row(
    "Service level",
    (
        number(
            "Requests",
            "Client requests answered per second.",
            "reqps",
            Query(rate(REQUESTS, where=DATA), "requests"),
        ),
        number(
            "Failing writes",
            "Share of writes answered with 5xx.",
            "percentunit",
            Query(failing(WRITES), "share"),
            steps=above(0.001, 0.01),
        ),
        number(
            "Failing reads",
            "Share of reads answered with 5xx.",
            "percentunit",
            Query(failing(READS), "share"),
            steps=above(0.001, 0.01),
        ),
        number(
            "Write p99",
            "99 of 100 writes are answered within this time.",
            "s",
            Query(quantile(0.99, DURATION, where=WRITES), "p99"),
            steps=above(0.1, 0.5),
        ),
        number(
            "Read p99",
            "99 of 100 reads are answered within this time.",
            "s",
            Query(quantile(0.99, DURATION, where=READS), "p99"),
            steps=above(0.1, 0.25),
        ),
        number(
            "Unknown outcomes",
            "Writes per second answered with outcome_unknown: they may or may not have been applied.",
            "reqps",
            Query(rate("collectionstore_http_problems_total", where='problem="outcome_unknown"'), "writes"),
            steps=above(0.001, 1),
        ),
        graph(
            "Requests by member",
            "Requests per second by the member that received them. An uneven share comes from the load balancer.",
            "reqps",
            Query(rate(REQUESTS, "instance", DATA), "{{instance}}"),
        ),
        graph(
            "Requests by route",
            "Requests per second by route and method.",
            "reqps",
            Query(rate(REQUESTS, "route, method", DATA), "{{method}} {{route}}"),
        ),
        graph(
            "Responses by status",
            "Responses per second by status code, all routes.",
            "reqps",
            Query(rate(REQUESTS, "code"), "{{code}}"),
            stacked=True,
        ),
    ),
)

LATENCY: Final = Row(
    "Latency",
    (
        graph(
            "Writes",
            "Time to the response to a write: durable on a majority and applied.",
            "s",
            Query(quantile(0.99, DURATION, where=WRITES), "p99"),
            Query(quantile(0.9, DURATION, where=WRITES), "p90"),
            Query(quantile(0.5, DURATION, where=WRITES), "p50"),
            log=True,
            limits=((None, GREEN), (0.5, RED)),
        ),
        graph(
            "Reads",
            "Time to the response to a read, linearizable and stale.",
            "s",
            Query(quantile(0.99, DURATION, where=READS), "p99"),
            Query(quantile(0.9, DURATION, where=READS), "p90"),
            Query(quantile(0.5, DURATION, where=READS), "p50"),
            log=True,
            limits=((None, GREEN), (0.25, RED)),
        ),
        graph(
            "p99 by member",
            "A member slower than the others has a slow disk, a busy CPU or a slow link.",
            "s",
            Query(quantile(0.99, DURATION, "instance", DATA), "{{instance}}"),
            log=True,
        ),
        graph(
            "p99 by route",
            "Lists and transactions are slower than single documents.",
            "s",
            Query(quantile(0.99, DURATION, "route, method", DATA), "{{method}} {{route}}"),
            log=True,
            width=12,
        ),
        graph(
            "Probes, p99",
            "Probes and status requests of the operator. /readyz performs a linearizable read.",
            "s",
            Query(quantile(0.99, DURATION, "route", 'route!~"/api/v1/(collections|kv|transactions).*"'), "{{route}}"),
            log=True,
            width=12,
        ),
    ),
)

TROUBLES: Final = Row(
    "Errors",
    (
        graph(
            "Failures by route",
            "5xx responses per second.",
            "reqps",
            Query(rate(REQUESTS, "route, method, code", FAILED), "{{code}} {{method}} {{route}}"),
        ),
        graph(
            "Problems",
            "Problems per second by code, as listed in docs/reference/api.md. overloaded means a full queue.",
            "reqps",
            Query(f"{rate('collectionstore_http_problems_total', 'problem')} > 0", "{{problem}}"),
        ),
        graph(
            "Conflicts",
            "Writes rejected because of another revision, and idempotency keys reused for different requests.",
            "reqps",
            Query(
                rate(
                    "collectionstore_http_problems_total",
                    "problem",
                    'problem=~"precondition_failed|idempotency_key_reused|document_exists|collection_exists"',
                ),
                "{{problem}}",
            ),
        ),
        graph(
            "Transactions",
            "By result: compare succeeded or not, a condition of an operation failed, or rejected.",
            "reqps",
            Query(rate("collectionstore_transactions_total", "result"), "{{result}}"),
            width=24,
        ),
    ),
)

LOAD: Final = Row(
    "Load",
    (
        graph(
            "Requests being served",
            "Against the limit, at which requests are rejected with 503.",
            "short",
            Query(now("collectionstore_http_inflight_requests"), "{{instance}}"),
            Query(f"min({now('collectionstore_http_inflight_requests_max')})", "bound"),
        ),
        graph(
            "Writes being served",
            "Against the bound that each member finds from the time that writes take; more are rejected with 503.",
            "short",
            Query(now("collectionstore_writes_inflight"), "{{instance}}"),
            Query(now("collectionstore_writes_inflight_max"), "{{instance}} bound"),
            Query(now("collectionstore_stream_writes_inflight"), "{{instance}} of streams"),
            Query(now("collectionstore_stream_writes_inflight_max"), "{{instance}} of streams, bound"),
        ),
        graph(
            "Writes refused",
            "Before they were proposed: too many in flight, no time left for what is in front, or unread for too long.",
            "reqps",
            Query(rate("collectionstore_writes_refused_total", "reason"), "{{reason}}"),
            Query(rate("collectionstore_stream_writes_refused_total", "reason"), "streams: {{reason}}"),
        ),
        graph(
            "Connections",
            "Open connections by port, against the limit of the client port, at which idle ones are closed.",
            "short",
            Query(now("collectionstore_port_connections"), "{{instance}} {{port}}"),
            Query("min(" + now("collectionstore_port_connections_max", 'port="clients"') + ")", "bound"),
        ),
        graph(
            "Connections refused and cut",
            "Refused: the port was full. Cut: the client sent or read too slowly.",
            "short",
            Query(rises("collectionstore_port_refused_connections_total", "reason"), "refused: {{reason}}"),
            Query(rises("collectionstore_http_cut_connections_total", "reason"), "cut: {{reason}}"),
        ),
        graph(
            "Request bodies in flight",
            "Bytes of request bodies being received.",
            "bytes",
            Query(now("collectionstore_http_arriving_bytes"), "{{instance}}"),
        ),
        graph(
            "Answers not taken yet",
            "Bytes of answers that wait for their clients; bounded by a share of the memory.",
            "bytes",
            Query(now("collectionstore_http_unsent_bytes"), "{{instance}}"),
        ),
        graph(
            "Queued commands",
            "Commands in the leader's queue, against the limit.",
            "short",
            Query(now("collectionstore_raft_proposals_waiting"), "{{instance}}"),
            Query(f"min({now('collectionstore_raft_proposals_waiting_max')})", "bound"),
            limits=((None, GREEN), (1000, AMBER)),
        ),
        graph(
            "Commands forwarded",
            "Commands that followers forward to the leader. Clients that write to the leader save a hop.",
            "cps",
            Query(rate("collectionstore_raft_forwarded_commands_total", "instance"), "{{instance}}"),
        ),
        graph(
            "Processor",
            "CPU seconds per second; the event loop uses one core.",
            "percentunit",
            Query(rate("process_cpu_seconds_total", "instance", 'job="collectionstore-node"'), "{{instance}}"),
        ),
        graph(
            "Refused by limits",
            "By the limits of users and collections, by fair shares under pressure, and because of the audit log.",
            "reqps",
            Query(rate("collectionstore_limits_refused_total", "scope"), "{{scope}}"),
            Query(rate("collectionstore_audit_refused_total"), "audit log"),
        ),
        graph(
            "Audit log",
            "Records that sinks have taken and lost, and attempts that failed.",
            "cps",
            Query(rate("collectionstore_audit_records_total", "sink, result"), "{{sink}} {{result}}"),
            Query(rate("collectionstore_audit_failures_total", "sink"), "{{sink}} failures"),
        ),
        graph(
            "Audit log: queues",
            "Bytes of records that sinks have not taken; a sink that fails is 1. Beyond the bound records are lost.",
            "bytes",
            Query(now("collectionstore_audit_queued_bytes"), "{{instance}} {{sink}}"),
            Query(f"min({now('collectionstore_audit_queued_bytes_max')})", "bound"),
            Query(now("collectionstore_audit_sink_failing"), "{{instance}} {{sink}} failing"),
        ),
    ),
)

PAGE: Final = Page(
    "api",
    "Collection Store / API and clients",
    "Requests, latency, errors and saturation of one cluster, as its clients see them.",
    (SERVICE, LATENCY, TROUBLES, LOAD),
)
