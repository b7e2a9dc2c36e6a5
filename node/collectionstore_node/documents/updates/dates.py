"""The time of day that `$currentDate` writes."""

from __future__ import annotations

from collectionstore_node.documents.dates import TIME_MS_MAX, rfc3339

__all__ = ["TIME_MS_MAX", "rfc3339"]
