"""`Limiter`: who is over a limit now. Pure, with the clock handed in.

A request is let in while its user and its collection have a token for it, and is charged for its bytes when it has
ended: how large an answer is, is not known before. So a bucket of bytes may go below zero, by the requests that were in
flight; what comes next waits until that has come in.

All limits are limits of one member: each counts what its own clients ask of it, as no member waits for another one to
admit a request. Three members with a limit of 100 requests per second let a client that uses all of them make 300.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from collectionstore_node.access.limits import UserLimits
from collectionstore_node.quotas.buckets import Bucket

KEPT_MAX: Final = 10_000
"""Users whose buckets are kept; beyond it the oldest begins anew."""
RETRY_S_MIN: Final = 0.05
RETRY_S_MAX: Final = 60.0
STREAM_RETRY_S: Final = 5.0


class Rates(Protocol):
    """Bounds of a user or a collection; 0 for no bound."""

    @property
    def requests_per_second(self) -> int: ...

    @property
    def bytes_per_second(self) -> int: ...


class Limits(Protocol):
    """The limits that are in force: those of the replicated access control, at one revision of it."""

    @property
    def revision(self) -> int:
        """The access revision."""

    def of_user(self, user: str) -> UserLimits:
        """Return the limits of a user."""

    def of_collection(self, name: str) -> Rates | None:
        """Return the limits of a collection, None if it has none."""


class Refusal(NamedTuple):
    """A limit that a request is over."""

    scope: str
    """`user` or `collection`."""
    limit: str
    """The name of the limit, such as `requests_per_second`."""
    value: int
    retry_after_s: float


class _Meter:
    """The buckets of one user, or of one collection."""

    __slots__ = ("bytes", "rates", "requests", "revision")

    def __init__(self, rates: Rates | None, revision: int, now: float) -> None:
        self.rates = rates
        self.revision = revision
        self.requests = self.bytes = None
        if rates is not None and rates.requests_per_second:
            self.requests = Bucket(rates.requests_per_second, now)
        if rates is not None and rates.bytes_per_second:
            self.bytes = Bucket(rates.bytes_per_second, now)

    def refusal(self, scope: str, now: float) -> Refusal | None:
        for name, bucket in (("requests_per_second", self.requests), ("bytes_per_second", self.bytes)):
            wait_s = 0.0 if bucket is None else bucket.wait_s(now)
            if wait_s > 0.0:
                retry_s = min(max(wait_s, RETRY_S_MIN), RETRY_S_MAX)
                return Refusal(scope, name, getattr(self.rates, name), retry_s)
        return None


class Admitted(NamedTuple):
    """What a request was let in by, for `charge`."""

    user: _Meter | None
    collection: _Meter | None


FREE: Final = Admitted(None, None)


class Limiter:
    """The rates of a member. Belongs to one event loop; O(1) for a request, and next to nothing without limits."""

    __slots__ = ("_clock", "_collections", "_streams", "_users", "refused")

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._users: dict[str, _Meter] = {}
        self._collections: dict[str, _Meter] = {}
        self._streams: dict[str, int] = {}
        self.refused = {"user": 0, "collection": 0}
        """Requests and streams that were refused, by scope."""

    def enter(self, limits: Limits | None, user: str, collection: str) -> Admitted | Refusal:
        """Let a request in, or return why not. An empty `user` or `collection` is none; `limits` None: nothing is."""
        if limits is None:
            return FREE
        now = self._clock()
        of_user = self._user(limits, user, now) if user else None
        of_collection = self._collection(limits, collection, now) if collection else None
        # Both are asked BEFORE a token is taken: a request that one refuses takes none of the other.
        refusal = None if of_user is None else of_user.refusal("user", now)
        if refusal is None and of_collection is not None:
            refusal = of_collection.refusal("collection", now)
        if refusal is not None:
            self.refused[refusal.scope] += 1
            return refusal
        for meter in (of_user, of_collection):
            if meter is not None and meter.requests is not None:
                meter.requests.take(1.0, now)
        return Admitted(of_user, of_collection)

    def charge(self, admitted: Admitted, size_bytes: int) -> None:
        """Charge a request that has ended for its bytes."""
        for meter in admitted:
            if meter is not None and meter.bytes is not None:
                meter.bytes.take(size_bytes, self._clock())

    def open_stream(self, limits: Limits | None, user: str) -> Refusal | None:
        """Count a stream of a user in, or return why not; call `close_stream` at its end."""
        open_now = self._streams.get(user, 0)
        most = limits.of_user(user).streams if limits is not None and user else 0
        if most and open_now >= most:
            self.refused["user"] += 1
            return Refusal("user", "streams", most, STREAM_RETRY_S)
        self._streams[user] = open_now + 1
        return None

    def close_stream(self, user: str) -> None:
        """Count a stream out."""
        left = self._streams[user] - 1
        if left:
            self._streams[user] = left
        else:
            del self._streams[user]

    def _user(self, limits: Limits, user: str, now: float) -> _Meter:
        found = self._users.get(user)
        if found is None or found.revision != limits.revision:
            found = _kept(self._users, user, found, limits.of_user(user), limits.revision, now)
        return found

    def _collection(self, limits: Limits, name: str, now: float) -> _Meter | None:
        rates = limits.of_collection(name)
        if rates is None:
            # Nothing is kept of it: a client can name any number of collections.
            return None
        found = self._collections.get(name)
        if found is None or found.revision != limits.revision:
            found = _kept(self._collections, name, found, rates, limits.revision, now)
        return found


def _kept(
    meters: dict[str, _Meter], name: str, found: _Meter | None, rates: Rates | None, revision: int, now: float
) -> _Meter:
    """Return the meter to use from now on: a new one, with full buckets, only where the rates are other ones."""
    if found is not None and found.rates == rates:
        found.revision = revision
        return found
    if found is None and len(meters) >= KEPT_MAX:
        del meters[next(iter(meters))]
    meters[name] = made = _Meter(rates, revision, now)
    return made
