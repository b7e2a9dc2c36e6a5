"""A client port whose requests are accounted for: the caller, the limits and the sink are what a test sets."""

from __future__ import annotations

from collectionstore_node.access.callers import Caller
from collectionstore_node.access.limits import CollectionLimits, UserLimits
from collectionstore_node.api.http.accounting import Accounting, Places
from collectionstore_node.audit import Auditor, Event
from collectionstore_node.audit.feeder import Feeder
from collectionstore_node.audit.rules import Rules
from collectionstore_node.audit.settings import Blocking
from collectionstore_node.quotas import Limiter, Limits, Shares
from collectionstore_node.tests.audit.recorded import RecordedSeries, RecordedSink, Time


class Accounts:
    """What a test sets, and what was recorded. Implements `quotas.Limits`."""

    def __init__(self, *, rules: Rules | None = None, blocking: Blocking = "Never", places: int = 1_000) -> None:
        self.caller: Caller | None = None
        self.revision = 0
        self.user_limits = UserLimits()
        self.collection_limits: dict[str, CollectionLimits] = {}
        self.time = Time()
        self.feeder = Feeder(
            "file",
            RecordedSink(),
            RecordedSeries(),
            bytes_max=1 << 20,
            clock=self.time.clock,
            wall_ms=lambda: 1_796_000_000_000,
            sleep=self.time.sleep,
            random=lambda: 0.5,
        )
        auditor = Auditor(
            (self.feeder,), Rules(reads=1.0) if rules is None else rules, blocking=blocking, random=lambda: 0.5
        )
        self.auditor = auditor
        self.limiter = Limiter(self.time.clock)
        self.shares = Places(*(Shares(lambda: places) for _ in range(4)))
        self.accounting = Accounting(
            auditor,
            self.limiter,
            self.limits,
            self.shares,
            lambda: 1_796_000_000_000,
            self.time.clock,
            lambda: self.caller,
        )

    def limits(self) -> Limits | None:
        """Return the limits in force."""
        return self if self.revision else None

    def of_user(self, user: str) -> UserLimits:
        """Return the limits of each user."""
        return self.user_limits

    def of_collection(self, name: str) -> CollectionLimits | None:
        """Return the limits of a collection."""
        return self.collection_limits.get(name)

    @property
    def events(self) -> list[Event]:
        """What was recorded: the feeder is not started, and its queue holds it."""
        return [one for one in self.feeder._queue if isinstance(one, Event)]
