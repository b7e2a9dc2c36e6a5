"""What a node tells Prometheus. `table` declares every series, `registry` gives out what counts, `exposition` shows it.

Names are `collectionstore_<part>_<noun>_<unit>`. A label's values are a closed set in the table, or bounded by what the
table says. Where the hot path counts, its recorder was resolved before: `replica`, `transport` and `clients` hold them.
"""

from __future__ import annotations

from collectionstore_node.metrics.clients import HttpSeries
from collectionstore_node.metrics.exposition import Exposition
from collectionstore_node.metrics.recorders import Counter, Gauge, Histogram
from collectionstore_node.metrics.registry import Metrics, Undeclared
from collectionstore_node.metrics.replica import (
    DigestSeries,
    DiskSeries,
    ForwardingSeries,
    ProposalSeries,
    ReadSeries,
    ReplicaMetrics,
    SnapshotSeries,
    WatchdogSeries,
)
from collectionstore_node.metrics.stored import stored_series
from collectionstore_node.metrics.table import CHAPTERS, SERIES
from collectionstore_node.metrics.tracing import TracingSeries
from collectionstore_node.metrics.transport import PeerSeries, TransportSeries

__all__ = [
    "CHAPTERS",
    "SERIES",
    "Counter",
    "DigestSeries",
    "DiskSeries",
    "Exposition",
    "ForwardingSeries",
    "Gauge",
    "Histogram",
    "HttpSeries",
    "Metrics",
    "PeerSeries",
    "ProposalSeries",
    "ReadSeries",
    "ReplicaMetrics",
    "SnapshotSeries",
    "TracingSeries",
    "TransportSeries",
    "Undeclared",
    "WatchdogSeries",
    "stored_series",
]
