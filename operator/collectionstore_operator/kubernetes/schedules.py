"""The schedules of backups of one cluster, as their own statuses say; asked for once a minute."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from collectionstore_operator.kubernetes.api import ApiError, Kind, Kube, NotFound
from collectionstore_operator.model.observed import ScheduleFreshness
from collectionstore_operator.reconcile.backup_decisions import freshness
from collectionstore_operator.resource.desired import Desired

KEPT_S: Final = 60.0

log = structlog.get_logger(__name__)


class Schedules:
    """Of one cluster; belongs to its loop."""

    def __init__(self, kube: Kube, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._known: tuple[ScheduleFreshness, ...] | None = None
        self._until = 0.0

    async def read(self, desired: Desired) -> tuple[ScheduleFreshness, ...] | None:
        """Return the schedules of the cluster, by name; None if they cannot be read."""
        if self._clock() < self._until:
            return self._known
        try:
            found = await self._kube.find_all(Kind.BACKUP_SCHEDULE, desired.namespace)
        except NotFound:
            found = []  # the definition is not installed: there are no schedules
        except ApiError as error:
            log.warning("schedules.not_listed", reason=str(error))
            return None
        of_cluster = [one for one in found if (one.get("spec") or {}).get("clusterName") == desired.name]
        self._known = freshness(of_cluster)
        self._until = self._clock() + KEPT_S
        return self._known
