"""What the members of a local cluster have logged; one JSON object a line."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from collectionstore_testkit.clusters.local import LocalCluster


def log_events(cluster: LocalCluster, name: str, since: float) -> list[dict[str, Any]]:
    """Return what the members have logged under `name` after `since`, seconds since 1970."""
    lines = (line for log in cluster.node_logs() for line in log.read_text().splitlines() if f'"{name}"' in line)
    return [event for event in map(json.loads, lines) if event["event"] == name and when(event) >= since]


def when(event: dict[str, Any]) -> float:
    """Return when a line was logged, in seconds since 1970."""
    return datetime.fromisoformat(event["timestamp"]).timestamp()
