"""When a loop looks again while nothing can be done in a cluster. Pure."""

from __future__ import annotations

from collectionstore_operator.model.access.obstacles import Obstacle
from collectionstore_operator.planning.backups.pace import BUSY_S, IDLE_S


def waiting_s(found: Obstacle) -> float:
    """Return the seconds until the next look: few for what passes by itself."""
    return BUSY_S if found.reason in ("ClusterNotReady", "ClusterUnknown") else IDLE_S
