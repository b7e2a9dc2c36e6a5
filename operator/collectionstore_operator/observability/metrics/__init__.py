"""The series of the operator: `table` declares them, `declared` makes them, `counting` and `clusters` record them.

Names are `collectionstore_operator_<noun>_<unit>`; series of a cluster are `collectionstore_cluster_<noun>`.
"""

from __future__ import annotations

from collectionstore_operator.observability.metrics.counting import LoopSeries, OperatorMetrics
from collectionstore_operator.observability.metrics.serving import add_metrics, process_metrics
from collectionstore_operator.observability.metrics.table import CHAPTERS, SERIES

__all__ = ["CHAPTERS", "SERIES", "LoopSeries", "OperatorMetrics", "add_metrics", "process_metrics"]
