"""What a node logs: the vocabulary of its events, and the log of slow operations."""

from __future__ import annotations

from collectionstore_node.logs.slow import SlowLog, Thresholds

__all__ = ["SlowLog", "Thresholds"]
