"""Keeps one store: lists, watches from that list on, and lists again when the watch has lost its place.

A watch that ends is continued from the version that was received last. What is deleted while nothing is watched shows
in the next events, or as missing from the next list. Source: client-go, tools/cache, Reflector.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from collectionstore_operator.kubernetes.api import ApiError, Body, Kube
from collectionstore_operator.kubernetes.api.api_errors import Expired
from collectionstore_operator.kubernetes.api.retry import backoff
from collectionstore_operator.kubernetes.caches.events import Event, Lines
from collectionstore_operator.kubernetes.caches.store import NotComparable, Store
from collectionstore_operator.kubernetes.caches.watched import Watched

SERVER_TIMEOUT_S: Final = 300
"""The server ends a watch after this time, as it does for client-go: connections are spread again over its replicas."""
SILENCE_S: Final = 90.0
"""A watch that sends nothing for so long is dead: bookmarks arrive every minute."""
BROKEN_S: Final = 10.0
"""A store whose watch has been broken for longer is not read from."""

log = structlog.get_logger(__name__)


class Reflector:
    """The watch of one kind, in one namespace or in all."""

    def __init__(
        self,
        kube: Kube,
        watched: Watched,
        namespace: str | None,
        changed: Callable[[Body], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        random_source: random.Random | None = None,
    ) -> None:
        """`changed` is called with every object that has changed, of deleted ones with the last state."""
        self._kube = kube
        self._watched = watched
        self._namespace = namespace
        self._changed = changed
        self._clock = clock
        self._sleep = sleep
        self._random = random_source or random.Random()
        self._heard = clock()
        self._connected = False
        self._place = ""
        self.store = Store(trim=watched.trim, group=watched.group)
        self.complete = asyncio.Event()
        """Set with the first list."""
        self.lists = 0
        """Lists since the start: one, and one for every time that the watch has lost its place."""

    @property
    def reliable(self) -> bool:
        """Whether the store is complete and at most a moment behind, as far as can be told."""
        if not self.complete.is_set():
            return False
        return self._clock() - self._heard < (SILENCE_S if self._connected else BROKEN_S)

    async def run(self) -> None:
        """Run until cancelled. No error ends it: without a reliable store reads go to the API server."""
        pauses = backoff(self._random)
        while True:
            try:
                if not self._place:
                    await self._list()
                await self._watch()
                pauses = backoff(self._random)
                continue
            except Expired as error:
                self._place = ""
                log.info("watch.expired", resource=self._watched.kind.plural, reason=str(error))
            except NotComparable as error:
                self._place = ""
                self.complete.clear()
                log.error("watch.not_comparable", resource=self._watched.kind.plural, reason=str(error))
            except ApiError as error:
                log.warning("watch.broken", resource=self._watched.kind.plural, reason=str(error))
            except Exception:  # a bug, or an object of a shape that was not expected: the watch must survive it
                # How much of it the store has taken is not known: it is not read from before the next list.
                self._place = ""
                self.complete.clear()
                log.exception("watch.failed", resource=self._watched.kind.plural)
            finally:
                self._connected = False
            await self._sleep(next(pauses))

    async def _list(self) -> None:
        watched = self._watched
        found = await self._kube.list_all(watched.kind, self._namespace, watched.selector, fields=watched.fields)
        changed = self.store.replace(found.items, found.version)
        self._place, self._heard = found.version, self._clock()
        self.lists += 1
        self.complete.set()
        for body in changed:
            self._changed(body)

    async def _watch(self) -> None:
        watched, lines = self._watched, Lines()
        async with self._kube.watch(
            watched.kind,
            self._namespace,
            watched.selector,
            fields=watched.fields,
            version=self._place,
            server_timeout_s=SERVER_TIMEOUT_S,
            silence_s=SILENCE_S,
        ) as chunks:
            self._connected, self._heard = True, self._clock()
            async for chunk in chunks:
                self._heard = self._clock()
                for event in lines.feed(chunk):
                    self._take(event)

    def _take(self, event: Event) -> None:
        version = event.body["metadata"]["resourceVersion"]
        if event.kind == "BOOKMARK":
            self.store.reach(version)
            changed = None
        elif event.kind == "DELETED":
            changed = self.store.drop(event.body)
        else:
            changed = self.store.put(event.body)
        self._place = version
        if changed is not None:
            self._changed(changed)
