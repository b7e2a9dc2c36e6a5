"""`Auditor`: the audit log as the API uses it: asked before a request, told behind it.

What a request is recorded by is decided before it begins, so that one whose record could be lost can be refused before
it has any effect. Nothing here waits: records are queued, and sinks take them when they can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from collectionstore_node.audit.events import (
    CONTENT_MAX,
    NAME_BYTES,
    OVERHEAD_BYTES,
    TEXT_BYTES,
    TEXT_MAX,
    TOUCHED_MAX,
    Event,
)
from collectionstore_node.audit.feeder import Feeder
from collectionstore_node.audit.rules import REFUSED, Rules
from collectionstore_node.audit.settings import Blocking

RESERVED_BYTES: Final = OVERHEAD_BYTES + 3 * TEXT_BYTES * (TEXT_MAX + 1) + NAME_BYTES * TOUCHED_MAX
"""Of a queue, for the record of a request that has begun: the most that `size_of` may say of one."""
CONTENT_BYTES: Final = TEXT_BYTES * (CONTENT_MAX + 1)
"""The same for its content, if that is recorded."""


class Unavailable(Exception):
    """A request is refused, because its record could be lost. The text says which sink fails, and why."""


class Taken(NamedTuple):
    """How a request is recorded."""

    record: bool
    content: bool
    reserved: int
    """Bytes of every queue that are kept for its record."""
    never: bool = False
    """Whether it is not recorded either if it is refused for credentials or rights."""


UNRECORDED: Final = Taken(record=False, content=False, reserved=0)
_NEVER: Final = UNRECORDED._replace(never=True)


class SinkState(NamedTuple):
    """A sink, for the status of the member."""

    name: str
    failing: str
    """Why it takes no records now; empty if it does."""
    queued: int
    dropped: int
    chain: str
    sequence: int
    """Of the last record that it has taken, and `hash` that of its line: an anchor."""
    hash: str


class Auditor:
    """The audit log of a member. Belongs to one event loop."""

    __slots__ = ("_blocking", "_feeders", "_random", "_reserved", "_rules", "refused")

    def __init__(
        self, feeders: Sequence[Feeder], rules: Rules, *, blocking: Blocking, random: Callable[[], float]
    ) -> None:
        """`random` is in [0, 1), and chooses the requests of which a part is recorded."""
        self._feeders = tuple(feeders)
        self._rules = rules
        self._blocking = blocking
        self._random = random
        self._reserved = 0
        self.refused = 0
        """Requests that were refused because of a sink."""

    def begin(self, user: str, verb: str, resource: str, *, may_refuse: bool = True) -> Taken:
        """Decide how a request is recorded. Raises `Unavailable`: it must not begin. Call `release` otherwise.

        What must not be refused is recorded if there is room then.
        """
        decision = self._rules.decide(user, verb, resource)
        if decision.take <= 0.0:
            return _NEVER
        if decision.take < 1.0 and self._random() >= decision.take:
            return UNRECORDED
        if self._blocking == "Never" or not may_refuse:
            return Taken(record=True, content=decision.content, reserved=0)
        size = RESERVED_BYTES + (CONTENT_BYTES if decision.content else 0)
        for feeder in self._feeders:
            full = not feeder.has_room(self._reserved + size)
            if full or (self._blocking == "WhenFailing" and feeder.failing):
                self.refused += 1
                reason = feeder.failure or "its queue is full"
                raise Unavailable(f"the sink {feeder.name} of the audit log takes no records: {reason}")
        self._reserved += size
        return Taken(record=True, content=decision.content, reserved=size)

    def wants(self, taken: Taken, status: int) -> bool:
        """Return whether a request that has ended is recorded. If not, only `release` it."""
        return taken.record or (status in REFUSED and not taken.never)

    def wants_refused(self, user: str, verb: str, resource: str) -> bool:
        """The same of a request that was refused before it began: for its credentials, or its rights."""
        return self._rules.decide(user, verb, resource).take > 0.0

    def release(self, taken: Taken) -> None:
        """Give back what was kept for a request, once."""
        self._reserved -= taken.reserved

    def record(self, event: Event, *, begun: bool = True) -> None:
        """Queue a record for every sink; `begun` if `begin` has decided that the request is recorded.

        Others are of refusals, which a stranger can cause as fast as it likes. They have half of a queue, and none of
        what is kept: a flood of them neither takes the place of a record nor refuses requests.
        """
        for feeder in self._feeders:
            feeder.put(event, spare_bytes=0 if begun else self._reserved + feeder.bytes_max // 2)

    @property
    def sinks(self) -> tuple[SinkState, ...]:
        """All sinks as they are now."""
        return tuple(
            SinkState(
                one.name,
                one.failure,
                one.queued,
                one.dropped,
                one.sink.position.chain,
                one.sink.position.sequence,
                one.sink.position.hash,
            )
            for one in self._feeders
        )
