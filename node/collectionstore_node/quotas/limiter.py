"""`Limiter`: who is over a limit now. Pure, with the clock handed in.

A request is let in while its user and its collection have a token for it, and is charged for its bytes when it has
ended: how large an answer is, is not known before. So a bucket of bytes may go below zero, by one request; what comes
next waits until that has come in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, TypeVar

from collectionstore_node.quotas.buckets import Bucket
from collectionstore_node.quotas.limits import Limits, Rates, rates_of, rates_of_collection

K = TypeVar("K")

KEPT_MAX: Final = 10_000
"""Users and collections whose buckets are kept, each."""
RETRY_S_MIN: Final = 0.05
RETRY_S_MAX: Final = 60.0
STREAM_RETRY_S: Final = 5.0


class Refusal(NamedTuple):
    """A limit that a request is over."""

    scope: str
    """`user` or `collection`."""
    limit: str
    """The name of the limit, as in `Rates`."""
    value: int
    retry_after_s: float


class _Meter:
    """The buckets of one user, or of one collection."""

    __slots__ = ("bytes", "rates", "requests")

    def __init__(self, rates: Rates, now: float) -> None:
        self.rates = rates
        self.requests = Bucket(rates.requests_per_second, now) if rates.requests_per_second else None
        self.bytes = Bucket(rates.bytes_per_second, now) if rates.bytes_per_second else None

    def refusal(self, scope: str, now: float) -> Refusal | None:
        for name, bucket in (("requests_per_second", self.requests), ("bytes_per_second", self.bytes)):
            wait_s = 0.0 if bucket is None else bucket.wait_s(now)
            if wait_s > 0.0:
                retry_s = min(max(wait_s, RETRY_S_MIN), RETRY_S_MAX)
                return Refusal(scope, name, getattr(self.rates, name), retry_s)
        return None

    def full(self, now: float) -> bool:
        return all(bucket is None or bucket.full(now) for bucket in (self.requests, self.bytes))


class Admitted(NamedTuple):
    """What a request was let in by, for `charge`."""

    user: _Meter | None
    collection: _Meter | None


FREE: Final = Admitted(None, None)


class Limiter:
    """The rates of a member. Belongs to one event loop; O(1) for a request, none without limits."""

    __slots__ = ("_clock", "_collections", "_limits", "_streams", "_users")

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._limits: Limits | None = None
        self._users: dict[tuple[str, tuple[str, ...]], _Meter] = {}
        self._collections: dict[str, _Meter] = {}
        self._streams: dict[str, int] = {}

    def use(self, limits: Limits | None) -> None:
        """Go on with other limits. All buckets begin full then."""
        if limits is not self._limits:
            if limits != self._limits:
                self._users.clear()
                self._collections.clear()
            self._limits = limits

    def enter(self, user: str, roles: tuple[str, ...], collection: str) -> Admitted | Refusal:
        """Let a request in, or return why not; an empty `collection` is none."""
        limits = self._limits
        if limits is None:
            return FREE
        now = self._clock()
        of_user = self._user(limits, user, roles, now)
        of_collection = self._collection(limits, collection, now) if collection else None
        # Both are asked BEFORE a token is taken: a request that one refuses takes none of the other.
        refusal = None if of_user is None else of_user.refusal("user", now)
        if refusal is None and of_collection is not None:
            refusal = of_collection.refusal("collection", now)
        if refusal is not None:
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

    def open_stream(self, user: str, roles: tuple[str, ...]) -> Refusal | None:
        """Count a stream of a user in, or return why not; call `close_stream` at its end."""
        limits = self._limits
        open_now = self._streams.get(user, 0)
        most = 0 if limits is None else rates_of(limits, user, roles).streams
        if most and open_now >= most:
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

    def _user(self, limits: Limits, user: str, roles: tuple[str, ...], now: float) -> _Meter | None:
        # By the roles, too: those of a credential come with it, and another one of the same user has its own limits.
        key = (user, roles)
        found = self._users.get(key)
        if found is None:
            found = _Meter(rates_of(limits, user, roles), now)
            _make_room(self._users, now)
            self._users[key] = found
        return found

    def _collection(self, limits: Limits, name: str, now: float) -> _Meter | None:
        found = self._collections.get(name)
        if found is None:
            found = _Meter(rates_of_collection(limits, name), now)
            _make_room(self._collections, now)
            self._collections[name] = found
        return found


def _make_room(meters: dict[K, _Meter], now: float) -> None:
    if len(meters) < KEPT_MAX:
        return
    # A full bucket is as a new one: nothing is lost with those. If none is, the oldest goes, which is at its limit:
    # names that are made up by the thousand can free one user of what it has taken, and no more.
    idle = [name for name, meter in meters.items() if meter.full(now)]
    for name in idle or [next(iter(meters))]:
        del meters[name]
