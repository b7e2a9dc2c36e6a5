"""All watches of this process, and which store holds a kind in a namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from collectionstore_operator.kubernetes.api import Body, Kind, Kube
from collectionstore_operator.kubernetes.caches.reflector import Reflector
from collectionstore_operator.kubernetes.caches.store import Store
from collectionstore_operator.kubernetes.caches.watched import WATCHED, Watched

SYNC_S: Final = 30.0
"""The loops start after this time also without complete caches: they read from the API server then."""

log = structlog.get_logger(__name__)


class Caches:
    """The watches of one operator; an async context manager that runs them."""

    def __init__(
        self,
        kube: Kube,
        *,
        namespaces: Sequence[str],
        watched: Sequence[Watched] = WATCHED,
    ) -> None:
        """`namespaces` are those to watch, all if there are none."""
        self.wake: Callable[[str, str], None] = lambda _namespace, _name: None
        """Called with namespace and name of a cluster of which something has changed."""
        self._reflectors = {
            (one.kind, place): Reflector(kube, one, place, lambda body, one=one: self._changed(one, body))  # type: ignore[misc]
            for one in watched
            for place in ((namespaces or (None,)) if one.kind.value.namespaced else (None,))
        }
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Caches:
        self._running = [
            asyncio.create_task(one.run(), name=f"watch {kind.plural} {place or ''}")
            for (kind, place), one in self._reflectors.items()
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def complete(self, stop: asyncio.Event, *, timeout_s: float = SYNC_S) -> bool:
        """Wait until every store has its first list; return whether all have, when `stop` is set or at the timeout."""
        listing: asyncio.Future[Any] = asyncio.gather(*(one.complete.wait() for one in self._reflectors.values()))
        stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({listing, stopping}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            listing.cancel()
            stopping.cancel()
            await asyncio.gather(listing, stopping, return_exceptions=True)
        lacking = sorted({kind.plural for (kind, _), one in self._reflectors.items() if not one.complete.is_set()})
        if lacking:
            log.warning("caches.incomplete", resources=lacking)
        return not lacking

    def store(self, kind: Kind, namespace: str | None) -> Store | None:
        """Return the store of a kind in a namespace; None if it is not watched, or cannot be relied on now."""
        if not kind.value.namespaced:
            found = self._reflectors.get((kind, None))
        else:
            found = self._reflectors.get((kind, None)) or self._reflectors.get((kind, namespace))
        return found.store if found is not None and found.reliable else None

    def watches(self, kind: Kind, namespace: str | None) -> bool:
        """Return whether a kind is watched in a namespace."""
        return bool({(kind, None), (kind, namespace)} & self._reflectors.keys())

    def objects(self) -> dict[str, int]:
        """Return the number of cached objects by resource."""
        counts: dict[str, int] = {}
        for (kind, _), one in self._reflectors.items():
            counts[kind.plural] = counts.get(kind.plural, 0) + len(one.store)
        return counts

    def _changed(self, watched: Watched, body: Body) -> None:
        for namespace, name in watched.wakes(body):
            self.wake(namespace, name)
