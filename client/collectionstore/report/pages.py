"""The HTTP pages of members and of the operator that go into a report."""

from __future__ import annotations

from typing import Final, NamedTuple

from collectionstore.report.items import Shape


class Page(NamedTuple):
    """Path below the metrics port, file in the report, and how it is redacted."""

    path: str
    file: str
    shape: Shape


MEMBER_PAGES: Final = (
    Page("status", "status.json", "json"),
    Page("readyz", "readyz.json", "json"),
    Page("livez", "livez.json", "json"),
    Page("metrics", "metrics.txt", "text"),
    Page("debug/raft", "raft.json", "json"),
    Page("debug/tasks", "tasks.json", "json"),
)

OPERATOR_PAGES: Final = (
    Page("livez", "livez.json", "json"),
    Page("readyz", "readyz.json", "json"),
    Page("metrics", "metrics.txt", "text"),
    Page("debug/tasks", "tasks.json", "json"),
    Page("debug/clusters", "clusters.json", "json"),
)
