"""Requests in two halves: handlers that wait for one thing only, around it, without a coroutine.

For requests of which nothing is left to read, with no parameters but `consistency=stale`, and with no header that such
a handler would look at (`api.hot.heads` says which). The halves are made of what the handler of all other requests is
made of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from multidict import CIMultiDictProxy

from collectionstore_node.access.callers import Caller
from collectionstore_node.api.budgets.clients import Client
from collectionstore_node.api.budgets.sending import Reader
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.service import Pending, Store, StoreLimits

if TYPE_CHECKING:
    from collectionstore_node.api.http.router import Entry


BODY_BYTES_MAX: Final = 64 << 10
"""A larger body is left to the general path, which counts it while it arrives."""


class Asker(Protocol):
    """Who waits for the answers of calls."""

    def ended(self, call: Any, result: Answer | BaseException, /) -> None:
        """Take the answer of a call of its own; none is possible if it is an exception."""


class DirectCall(Pending, Reader, Protocol):
    """One request while it is handled, and what its operation keeps."""

    place: Place
    method: str
    headers: CIMultiDictProxy[str]
    last: str
    """The last part of its path, which needs no decoding and breaks no rule of names."""
    body: bytes
    key: str | None
    """The client's idempotency key."""
    admitted: bool
    """Whether it has a place among the requests in flight."""
    caller: Caller | None
    """Who makes it; None where access control is off."""

    @property
    def client(self) -> Client | None:
        """All connections from the client's address."""

    @property
    def asker(self) -> Asker:
        """Who is told the answer."""


class DirectHandler(Protocol):
    """Serves the direct requests of a route."""

    json: bool
    """Whether bodies must be declared as JSON."""
    stale: DirectHandler | None
    """What serves the requests that ask for a stale read; None if this one reads nothing, or stale already."""

    def bytes_max(self, limits: HttpLimits, store_limits: StoreLimits) -> int:
        """Return the size up to which it takes bodies; 0 if there must be none, otherwise there must be one."""

    def name(self, argument: str) -> str:
        """Return the name in the path before its last part. Raises `Problem`."""

    def begin(self, call: DirectCall, store: Store, limits: HttpLimits) -> None:
        """Begin the operation. Raises what refuses the request."""

    def end(self, call: DirectCall, store: Store, limits: HttpLimits) -> Answer | None:
        """Return the answer, None if the operation waits again. Raises what refuses the request."""


class Place(NamedTuple):
    """Where requests go whose lines differ in the last part of the path only."""

    method: str
    entry: Entry
    handler: DirectHandler
    name: str
    bytes_max: int
    """See `DirectHandler.bytes_max`."""
    json: bool
    """See `DirectHandler.json`."""
    keyed: bool
    """Whether requests may have an idempotency key."""
    stale: Place | None
    """Where the same requests go when they ask for a stale read."""
    reads_stale: bool = False
    """Whether answers say how stale they are."""
