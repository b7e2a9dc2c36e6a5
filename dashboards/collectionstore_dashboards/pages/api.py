"""What clients ask, and what they are told."""

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
)

SERVICE: Final = Row(
    "For users of the store: is it served well",
    (
        number(
            "Requests",
            "Requests of clients answered per second.",
            "reqps",
            Query(rate(REQUESTS, where=DATA), "requests"),
        ),
        number(
            "Failing writes",
            "Share of writes that end with 5xx.",
            "percentunit",
            Query(failing(WRITES), "share"),
            steps=above(0.001, 0.01),
        ),
        number(
            "Failing reads",
            "Share of reads that end with 5xx.",
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
            "Writes per second of which the client was told that they may or may not be applied.",
            "reqps",
            Query(rate("collectionstore_http_problems_total", where='problem="outcome_unknown"'), "writes"),
            steps=above(0.001, 1),
        ),
        graph(
            "Requests by member",
            "Where clients send their requests. Any member takes any; an uneven share comes from the load balancer.",
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
            "Answers by status",
            "Answers per second by status code, all routes.",
            "reqps",
            Query(rate(REQUESTS, "code"), "{{code}}"),
            stacked=True,
        ),
    ),
)

LATENCY: Final = Row(
    "For users of the store: latency",
    (
        graph(
            "Writes",
            "Time to the answer of a write: durable on a majority and applied.",
            "s",
            Query(quantile(0.99, DURATION, where=WRITES), "p99"),
            Query(quantile(0.9, DURATION, where=WRITES), "p90"),
            Query(quantile(0.5, DURATION, where=WRITES), "p50"),
            log=True,
            limits=((None, GREEN), (0.5, RED)),
        ),
        graph(
            "Reads",
            "Time to the answer of a read, linearizable and stale ones.",
            "s",
            Query(quantile(0.99, DURATION, where=READS), "p99"),
            Query(quantile(0.9, DURATION, where=READS), "p90"),
            Query(quantile(0.5, DURATION, where=READS), "p50"),
            log=True,
            limits=((None, GREEN), (0.25, RED)),
        ),
        graph(
            "p99 by member",
            "One member slower than the others has a slow disk, a busy processor or a bad link.",
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
            "Probes and what the operator asks. /readyz makes a linearizable read.",
            "s",
            Query(quantile(0.99, DURATION, "route", 'route!~"/api/v1/(collections|kv|transactions).*"'), "{{route}}"),
            log=True,
            width=12,
        ),
    ),
)

TROUBLES: Final = Row(
    "For the developer: what clients are told when it does not work",
    (
        graph(
            "Failures by route",
            "Answers with 5xx per second.",
            "reqps",
            Query(rate(REQUESTS, "route, method, code", FAILED), "{{code}} {{method}} {{route}}"),
        ),
        graph(
            "Problems",
            "Problems per second by their code; docs/api.md tells what each means. overloaded is a full queue.",
            "reqps",
            Query(f"{rate('collectionstore_http_problems_total', 'problem')} > 0", "{{problem}}"),
        ),
        graph(
            "Conflicts",
            "Writes refused because the revision was another one, and keys used twice for different requests.",
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
            "By what came of them: the guards held or not, an operation's condition failed, or it was refused.",
            "reqps",
            Query(rate("collectionstore_transactions_total", "result"), "{{result}}"),
            width=24,
        ),
    ),
)

LOAD: Final = Row(
    "For the planner: load",
    (
        graph(
            "Requests being served",
            "Against the bound, at which requests are refused with 503.",
            "short",
            Query(now("collectionstore_http_inflight_requests"), "{{instance}}"),
            Query(f"min({now('collectionstore_http_inflight_requests_max')})", "bound"),
        ),
        graph(
            "Connections",
            "Open connections of clients and probes.",
            "short",
            Query(now("collectionstore_http_connections"), "{{instance}}"),
        ),
        graph(
            "Bodies on their way",
            "Bytes of request bodies that are still arriving.",
            "bytes",
            Query(now("collectionstore_http_arriving_bytes"), "{{instance}}"),
        ),
        graph(
            "Commands that wait",
            "Commands in the leader's queue, against the bound.",
            "short",
            Query(now("collectionstore_raft_proposals_waiting"), "{{instance}}"),
            Query(f"min({now('collectionstore_raft_proposals_waiting_max')})", "bound"),
            limits=((None, GREEN), (1000, AMBER)),
        ),
        graph(
            "Commands forwarded",
            "Commands that members hand to the leader. Clients that write to the leader save a hop.",
            "cps",
            Query(rate("collectionstore_raft_forwarded_commands_total", "instance"), "{{instance}}"),
        ),
        graph(
            "Processor",
            "Processor seconds used per second, of one core for the event loop.",
            "percentunit",
            Query(rate("process_cpu_seconds_total", "instance", 'job="collectionstore-node"'), "{{instance}}"),
        ),
    ),
)

PAGE: Final = Page(
    "api",
    "Collection Store / API and clients",
    "Requests, latency, failures and load of one cluster, as its clients see them.",
    (SERVICE, LATENCY, TROUBLES, LOAD),
)
