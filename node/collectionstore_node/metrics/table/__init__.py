"""The one table of every series that a node has of its own. docs/metrics.md is made from it."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.series import Series
from collectionstore_node.metrics.table.process import PROCESS
from collectionstore_node.metrics.table.raft import RAFT
from collectionstore_node.metrics.table.storage import STORAGE, STORED
from collectionstore_node.metrics.table.traffic import TRAFFIC

CHAPTERS: Final[tuple[tuple[str, tuple[Series, ...]], ...]] = (*PROCESS, *RAFT, *STORAGE, *TRAFFIC)
"""Title and series, in the order of the page."""

SERIES: Final[tuple[Series, ...]] = tuple(series for _, chapter in CHAPTERS for series in chapter)

COUNTED: Final[tuple[Series, ...]] = tuple(series for series in SERIES if series not in STORED)
"""All but those that a thread reads."""
