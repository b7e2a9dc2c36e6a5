"""PromQL with the variables of the dashboards in it.

Every series of a member is selected by namespace, cluster and instance; the operator's series about a cluster by
namespace and cluster; those about itself by instance alone, because it serves clusters of many namespaces.
"""

from __future__ import annotations

from typing import Final

WINDOW: Final = "$__rate_interval"
"""Grafana's: at least four scrapes, at least one step."""

CLUSTER: Final = 'namespace=~"$namespace", cluster=~"$cluster"'
MEMBER: Final = f'{CLUSTER}, instance=~"$instance"'
OPERATOR: Final = 'instance=~"$instance"'

DATA: Final = 'route=~"/api/v1/(collections|kv|transactions).*"'
"""Requests of clients: not the probes, nor what the operator asks of the cluster."""
READS: Final = f'{DATA}, method=~"GET|HEAD"'
WRITES: Final = f'{DATA}, method!~"GET|HEAD"'
FAILED: Final = 'code=~"5.."'

REQUESTS: Final = "collectionstore_http_requests_total"
DURATION: Final = "collectionstore_http_request_duration_seconds"


def now(series: str, where: str = "", *, scope: str = MEMBER) -> str:
    """Return the selector of a series."""
    labels = ", ".join(part for part in (scope, where) if part)
    return f"{series}{{{labels}}}"


def rate(series: str, by: str = "", where: str = "", *, scope: str = MEMBER) -> str:
    """Return how fast a counter rises per second, summed by labels."""
    return f"sum{_by(by)} (rate({now(series, where, scope=scope)}[{WINDOW}]))"


def rises(series: str, by: str = "", where: str = "", *, scope: str = MEMBER) -> str:
    """Return by how much a counter rose within the window, summed by labels."""
    return f"sum{_by(by)} (increase({now(series, where, scope=scope)}[{WINDOW}]))"


def quantile(share: float, histogram: str, by: str = "", where: str = "", *, scope: str = MEMBER) -> str:
    """Return the value that `share` of the observations of a histogram do not exceed."""
    labels = ", ".join(part for part in ("le", by) if part)
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', labels, where, scope=scope)})"


def mean(histogram: str, by: str = "", where: str = "", *, scope: str = MEMBER) -> str:
    """Return the mean of the observations of a histogram."""
    observed = (rate(f"{histogram}_{part}", by, where, scope=scope) for part in ("sum", "count"))
    return " / ".join(observed)


def failing(where: str, by: str = "") -> str:
    """Return which share of requests ends with 5xx; 0 where none does."""
    failures = rate(REQUESTS, by, f"{where}, {FAILED}")
    requests = rate(REQUESTS, by, where)
    return f"({failures} or 0 * {requests}) / {requests}"


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
