"""What the operator tells Prometheus. `table` declares every series, `declared` makes them, `counting` counts.

Names are `collectionstore_operator_<noun>_<unit>`; what is told of a cluster is `collectionstore_cluster_<noun>`.
"""

from __future__ import annotations

from collectionstore_operator.observability.metrics.counting import LoopSeries, OperatorMetrics
from collectionstore_operator.observability.metrics.serving import add_metrics, process_metrics
from collectionstore_operator.observability.metrics.table import CHAPTERS, SERIES

__all__ = ["CHAPTERS", "SERIES", "LoopSeries", "OperatorMetrics", "add_metrics", "process_metrics"]
