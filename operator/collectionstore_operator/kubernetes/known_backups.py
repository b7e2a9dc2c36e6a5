"""The complete backups that resources of a namespace tell of; asked for only while one is to be chosen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import structlog

from collectionstore_operator.kubernetes.api import ApiError, Kind, Kube, NotFound
from collectionstore_operator.model.observed import KnownBackup

KEPT_S: Final = 60.0

log = structlog.get_logger(__name__)


class KnownBackups:
    """Of one namespace; belongs to the loop of one cluster."""

    def __init__(self, kube: Kube, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kube = kube
        self._clock = clock
        self._known: tuple[KnownBackup, ...] = ()
        self._until = 0.0

    async def read(self, namespace: str) -> tuple[KnownBackup, ...] | None:
        """Return the complete backups, by ID; None if they cannot be read."""
        if self._clock() < self._until:
            return self._known
        try:
            found = await self._kube.find_all(Kind.BACKUP, namespace)
        except NotFound:
            found = []  # the definition is not installed: there are no such resources
        except ApiError as error:
            log.warning("backups.not_listed", reason=str(error))
            return None
        self._known = tuple(sorted(filter(None, map(_complete, found)), key=lambda one: one.id))
        self._until = self._clock() + KEPT_S
        return self._known


def _complete(body: Mapping[str, Any]) -> KnownBackup | None:
    """Return a backup, if its status says that it is complete."""
    status = body.get("status") or {}
    complete = any(
        one.get("type") == "Complete" and one.get("status") == "True" for one in status.get("conditions") or ()
    )
    url = ((body.get("spec") or {}).get("repository") or {}).get("url")
    if not complete or not url or not status.get("backupID"):
        return None
    return KnownBackup(
        id=str(status["backupID"]),
        cluster_id=str(status.get("clusterID") or ""),
        url=str(url),
        revision=int(status.get("revision") or 0),
        completed=str(status.get("completedAt") or ""),
    )
