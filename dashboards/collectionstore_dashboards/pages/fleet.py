"""All clusters on one page: which one needs attention."""

from __future__ import annotations

from typing import Final

from collectionstore_dashboards.frame import Page, Row, Variables
from collectionstore_dashboards.panels import GREEN, RED, Column, Query, above, below, graph, grid, number
from collectionstore_dashboards.queries import CLUSTER, DATA, DURATION, FAILED, REQUESTS, WRITES, now, quantile, rate

_KEYS: Final = "namespace, cluster"
_NAME: Final = "{{namespace}}/{{cluster}}"
_REQUESTS: Final = rate(REQUESTS, _KEYS, DATA)
_FAILING: Final = f"({rate(REQUESTS, _KEYS, f'{DATA}, {FAILED}')} or 0 * {_REQUESTS}) / {_REQUESTS}"
_P99: Final = quantile(0.99, DURATION, _KEYS, WRITES)
_FREE: Final = (
    f"min by ({_KEYS}) ({now('collectionstore_storage_filesystem_available_bytes')} / "
    f"{now('collectionstore_storage_filesystem_size_bytes')})"
)
_UP: Final = now("up", 'job="collectionstore-node"')
_LEADERS: Final = f"sum by ({_KEYS}) ({now('collectionstore_raft_is_leader')})"


def _most(series: str) -> str:
    return f"max by ({_KEYS}) ({now(series)})"


TOTALS: Final = Row(
    "At a glance",
    (
        number(
            "Clusters",
            "Clusters of which at least one member is scraped.",
            "none",
            Query(f"count(count by ({_KEYS}) ({_UP}))", "clusters"),
            decimals=0,
        ),
        number(
            "Clusters without a leader",
            "They accept no writes. The table below lists them.",
            "none",
            Query(f"count({_LEADERS} == 0) or 0 * count({_UP})", "clusters"),
            steps=((None, GREEN), (1, RED)),
            decimals=0,
        ),
        number(
            "Members down",
            "Members of all clusters that Prometheus cannot scrape.",
            "none",
            Query(f"count({_UP}) - sum({_UP})", "members"),
            steps=above(1, 3),
            decimals=0,
        ),
        number(
            "Requests",
            "Client requests per second, all clusters.",
            "reqps",
            Query(rate(REQUESTS, where=DATA), "requests"),
        ),
        number(
            "Alerts firing",
            "Critical alerts of all clusters.",
            "none",
            Query(
                'sum(ALERTS{alertname=~"CollectionStore.*", alertstate="firing", severity="critical", '
                f"{CLUSTER}}}) or vector(0)",
                "alerts",
            ),
            steps=((None, GREEN), (1, RED)),
            decimals=0,
        ),
        number(
            "Data",
            "Bytes on disk, all members of all clusters.",
            "bytes",
            Query(f"sum({now('collectionstore_storage_data_bytes')})", "bytes"),
        ),
    ),
)

TABLE: Final = Row(
    "All clusters",
    (
        grid(
            "Clusters",
            "One row for each cluster; colours as on its overview. Sort by a column to see the worst first.",
            Column("Members up", f"sum by ({_KEYS}) ({_UP})", "none"),
            Column("Members", f"count by ({_KEYS}) ({_UP})", "none"),
            Column("Leaders", _LEADERS, "none", ((None, RED), (1, GREEN), (2, RED))),
            Column("Fault tolerance", _most("collectionstore_raft_tolerated_failures"), "none", below(0, 1)),
            Column("Requests", _REQUESTS, "reqps"),
            Column("Failing", _FAILING, "percentunit", above(0.001, 0.01)),
            Column("Write p99", _P99, "s", above(0.1, 0.5)),
            Column("Lag", _most("collectionstore_raft_peer_lag_entries"), "short", above(100, 1000)),
            Column("Free space", _FREE, "percentunit", below(0.1, 0.25)),
            keys=("namespace", "cluster"),
            height=12,
        ),
    ),
)

COURSE: Final = Row(
    "Trends",
    (
        graph("Requests", "Client requests per second.", "reqps", Query(_REQUESTS, _NAME), stacked=True),
        graph("Failing requests", "Share of requests answered with 5xx.", "percentunit", Query(_FAILING, _NAME)),
        graph("Write p99", "99 of 100 writes are answered within this time.", "s", Query(_P99, _NAME), log=True),
        graph("Free space", "Free share of each cluster's fullest volume.", "percentunit", Query(_FREE, _NAME), top=1),
        graph(
            "Data",
            "Bytes on disk of each cluster, all members.",
            "bytes",
            Query(f"sum by ({_KEYS}) ({now('collectionstore_storage_data_bytes')})", _NAME),
            stacked=True,
        ),
        graph(
            "Versions",
            "Members by version. Two versions for long mean an incomplete upgrade.",
            "none",
            Query(f"count by (version) ({now('collectionstore_build_info')})", "{{version}}"),
            stacked=True,
        ),
    ),
)

PAGE: Final = Page(
    "fleet",
    "Collection Store / Fleet",
    "All clusters in this Prometheus, those with problems first.",
    (TOTALS, TABLE, COURSE),
    Variables(several=True),
)
