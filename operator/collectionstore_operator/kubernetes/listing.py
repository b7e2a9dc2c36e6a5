"""Lists all resources from time to time, because a watch can end or stall without an error.

What a list shows and no event has announced gets its loop from here, so a new resource is seen within `LIST_S`. The
watch is behind while a listed version has not arrived as an event, though time to arrive has passed and nothing else
of that resource arrives: `/livez` fails when that lasts, and the kubelet starts the operator again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from collectionstore_operator.kubernetes.api import ApiError, Body, Kind, Kube
from collectionstore_operator.kubernetes.clusters import Clusters
from collectionstore_operator.resource import labels

LIST_S: Final = 30.0

log = structlog.get_logger(__name__)


class Lister:
    """Lists the resources of the watched namespaces, all of them if there are none."""

    def __init__(
        self,
        kube: Kube,
        clusters: Clusters,
        *,
        namespaces: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kube = kube
        self._clusters = clusters
        self._namespaces: Sequence[str | None] = namespaces or (None,)
        self._clock = clock
        self._tried = clock()
        self._behind: dict[tuple[str, str], tuple[str, float]] = {}
        """Resources whose listed version has not arrived: the version that arrived last, and since when."""

    async def run(self) -> None:
        """List until cancelled."""
        while True:
            await asyncio.sleep(LIST_S)
            await self.once()

    async def once(self) -> None:
        """List once; an API server that does not answer is no fault of the watch."""
        try:
            found = [
                body for namespace in self._namespaces for body in await self._kube.find_all(Kind.CLUSTER, namespace)
            ]
        except ApiError as error:
            log.warning("resources.not_listed", reason=str(error))
        else:
            self._compare(found)
        self._tried = self._clock()

    def silent_s(self) -> float:
        """Return the seconds since the last list ended, whatever came of it."""
        return self._clock() - self._tried

    def behind_s(self) -> float:
        """Return the seconds for which the watch has been behind; 0 while it is not."""
        now = self._clock()
        return max((now - since for _, since in self._behind.values()), default=0.0)

    def _compare(self, found: Sequence[Body]) -> None:
        now, behind = self._clock(), {}
        for body in found:
            metadata = body["metadata"]
            key = (metadata["namespace"], metadata["name"])
            if not _is_released(body):
                self._clusters.ensure(*key)
            arrived = self._clusters.arrived(*key)
            if arrived != metadata["resourceVersion"]:
                before, since = self._behind.get(key, (arrived, now))
                behind[key] = (arrived, since if before == arrived else now)
        self._behind = behind


def _is_released(body: Body) -> bool:
    """Return whether a resource that is being deleted waits for others only."""
    metadata = body["metadata"]
    return "deletionTimestamp" in metadata and labels.FINALIZER not in (metadata.get("finalizers") or ())
