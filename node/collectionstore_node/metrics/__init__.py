"""The series of a node: `table` declares them, the other modules hold the recorders of one part of the node each.

Recorders are resolved at start, so that the hot path counts without a lookup.
"""

from __future__ import annotations

from collectionstore_node.metrics.clients import (
    AuthenticationSeries,
    ExpirySeries,
    HttpSeries,
    IndexSeries,
    WatchSeries,
    WriteSeries,
)
from collectionstore_node.metrics.ports import PortSeries
from collectionstore_node.metrics.replica import (
    DigestSeries,
    DiskSeries,
    ForwardingSeries,
    ProposalSeries,
    ReadSeries,
    ReplicaMetrics,
    SnapshotSeries,
    SpaceSeries,
    WatchdogSeries,
)
from collectionstore_node.metrics.stored import stored_series
from collectionstore_node.metrics.table import CHAPTERS, SERIES, member_metrics
from collectionstore_node.metrics.tracing import TracingSeries
from collectionstore_node.metrics.transport import PeerSeries, TransportSeries

__all__ = [
    "CHAPTERS",
    "SERIES",
    "AuthenticationSeries",
    "DigestSeries",
    "DiskSeries",
    "ExpirySeries",
    "ForwardingSeries",
    "HttpSeries",
    "IndexSeries",
    "PeerSeries",
    "PortSeries",
    "ProposalSeries",
    "ReadSeries",
    "ReplicaMetrics",
    "SnapshotSeries",
    "SpaceSeries",
    "TracingSeries",
    "TransportSeries",
    "WatchSeries",
    "WatchdogSeries",
    "WriteSeries",
    "member_metrics",
    "stored_series",
]
