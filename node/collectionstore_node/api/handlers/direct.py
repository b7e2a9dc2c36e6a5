"""Reads and writes of one target in two halves, for the routes of documents and of raw values alike."""

from __future__ import annotations

from collections.abc import Callable

from multidict import CIMultiDictProxy

from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.direct import DirectCall, DirectHandler
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.service.operations import Put, Read
from collectionstore_node.service.results import Outcome, ReadResult


class DirectGet:
    """Implements `DirectHandler` for a linearizable read."""

    json = False

    def __init__(
        self,
        *,
        name: Callable[[str], str],
        target: Callable[[str, str], Read],
        answer: Callable[[CIMultiDictProxy[str], ReadResult], Answer],
    ) -> None:
        """`target` makes what is read of both names; `answer` takes the headers of the request. `name`: the protocol.

        `name` and `answer` raise `Problem`.
        """
        self.name = name
        self.target = target
        self.answer = answer
        self.stale: DirectHandler | None = DirectStaleGet(self)

    def bytes_max(self, limits: HttpLimits, store_limits: StoreLimits) -> int:
        """Return 0: a read has no body."""
        return 0

    def begin(self, call: DirectCall, store: Store, limits: HttpLimits) -> None:
        """Begin the read."""
        store.halves.begin_read(call, self.target(call.place.name, call.last), limits.timeout_default_s)

    def end(self, call: DirectCall, store: Store, limits: HttpLimits) -> Answer | None:
        """Return the answer, None if the read waits again."""
        found = store.halves.end_read(call, limits.timeout_default_s)
        return None if found is None else self.answer(call.headers, found)


class DirectStaleGet:
    """Implements `DirectHandler` for the stale read of what `get` reads."""

    json = False
    stale: DirectHandler | None = None

    def __init__(self, get: DirectGet) -> None:
        self._get = get
        self.name = get.name

    def bytes_max(self, limits: HttpLimits, store_limits: StoreLimits) -> int:
        """Return 0: a read has no body."""
        return 0

    def begin(self, call: DirectCall, store: Store, limits: HttpLimits) -> None:
        """Begin the read."""
        store.halves.begin_stale_read(call, self._get.target(call.place.name, call.last), limits.timeout_default_s)

    def end(self, call: DirectCall, store: Store, limits: HttpLimits) -> Answer | None:
        """Return the answer, None if the read waits again."""
        found = store.halves.end_stale_read(call, limits.timeout_default_s)
        return None if found is None else self._get.answer(call.headers, found)


class DirectPut:
    """Implements `DirectHandler` for a write."""

    stale: DirectHandler | None = None

    def __init__(
        self,
        *,
        json: bool,
        bytes_max: Callable[[StoreLimits], int],
        name: Callable[[str], str],
        write: Callable[[DirectCall, HttpLimits], Put],
        answer: Callable[[Store, Put, Outcome], Answer],
    ) -> None:
        """`write` makes the write of a request, `answer` its answer. The rest: see the protocol.

        `name`, `write` and `answer` raise `Problem`.
        """
        self.json = json
        self.name = name
        self._bytes_max = bytes_max
        self._write = write
        self._answer = answer

    def bytes_max(self, limits: HttpLimits, store_limits: StoreLimits) -> int:
        """Return the size up to which it takes bodies."""
        return self._bytes_max(store_limits)

    def begin(self, call: DirectCall, store: Store, limits: HttpLimits) -> None:
        """Begin the write."""
        store.halves.begin_write(call, self._write(call, limits), limits.timeout_default_s)

    def end(self, call: DirectCall, store: Store, limits: HttpLimits) -> Answer | None:
        """Return the answer, None if the write waits again."""
        outcome = store.halves.end_write(call, limits.timeout_default_s)
        return None if outcome is None else self._answer(store, call.target, outcome)  # type: ignore[arg-type]  # begun
