"""All series that a node declares. docs/reference/metrics.md is generated from these tables."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.table.audit import AUDIT
from collectionstore_node.metrics.table.process import PROCESS
from collectionstore_node.metrics.table.raft import RAFT
from collectionstore_node.metrics.table.storage import STORAGE, STORED
from collectionstore_node.metrics.table.traffic import TRAFFIC
from collectionstore_telemetry.metrics import Chapters, Metrics, Series

CHAPTERS: Final[Chapters] = (*PROCESS, *RAFT, *STORAGE, *TRAFFIC, *AUDIT)
"""Title and series, in the order of the page."""

SERIES: Final[tuple[Series, ...]] = tuple(series for _, chapter in CHAPTERS for series in chapter)

_COUNTED: Final = tuple(series for series in SERIES if series not in STORED)


def member_metrics(*, enabled: bool = True) -> Metrics:
    """Return metrics of all series except those that `stored_series` reads from the disk, in a thread."""
    return Metrics(_COUNTED, enabled=enabled)
