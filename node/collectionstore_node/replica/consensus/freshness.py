"""How stale the state of a member without a vote can be, confirmed by ReadIndex rounds of its own.

A state is *as fresh as* a moment if it holds everything that was acknowledged before it. A ReadIndex round (thesis 6.4)
that this member asks for at `t` ends with a state that is as fresh as `t`: the leader takes its commit index after `t`,
a majority confirms that it still leads, and the reads of the round are told once that index is applied here. So
`now - t` bounds the staleness, by one clock of one machine. A heartbeat would not do: how long it was on its way is not
known, and a deposed leader sends heartbeats, too.

Only members without a vote ask by themselves, and only they are bounded: a voter takes part in the quorum, and is asked
for the newest state.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from collectionstore_node.errors import NotNow
from collectionstore_node.replica.consensus.consensus import Consensus
from collectionstore_node.replica.settings import ReplicaSettings

ROUND_S: Final = 1.0
"""How often a member asks at most; four times within a shorter bound, so that one lost round costs no readiness."""


class Freshness:
    """What is known of the staleness of one member's state. Belongs to the event loop."""

    def __init__(self, consensus: Consensus, settings: ReplicaSettings, *, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds, and preferably advances while the machine is suspended."""
        self._consensus = consensus
        self._clock = clock
        self._started = clock()
        self._as_of = -inf
        self._round: _Round | None = None
        self._asked = -inf
        self._every_s = min(ROUND_S, settings.staleness_max_s / 4)
        self.max_s = settings.staleness_max_s
        """The bound on stale reads of a member without a vote, and on its readiness."""

    @property
    def bounded(self) -> bool:
        """Whether this member must confirm that its state is recent: it has no vote, so no quorum depends on it."""
        status = self._consensus.raft.configuration
        own = self._consensus.raft.node_id
        return own not in status.voters and own not in status.outgoing

    def now(self) -> float:
        """Return the moment to pass to `confirmed`, BEFORE a round begins."""
        return self._clock()

    def staleness_s(self) -> float:
        """Return how stale the state can be at most, in seconds; infinite before the first confirmation."""
        return self._clock() - self._as_of

    def unconfirmed_s(self) -> float:
        """Return the same for people and alerts: before the first confirmation, the age of this process."""
        return self._clock() - max(self._as_of, self._started)

    def bound_s(self, asked_s: float | None) -> float:
        """Return the bound on a stale read: what the request allows, and without a vote no more than `max_s`."""
        own = self.max_s if self.bounded else inf
        return own if asked_s is None else min(asked_s, own)

    def confirmed(self, as_of: float) -> None:
        """Note that the state holds everything that was acknowledged before `as_of`, by `now`."""
        self._as_of = max(self._as_of, as_of)

    def tick(self, now: float) -> None:
        """Ask for the next round when it is due; `now` is loop time, for deadlines."""
        # Without a leader there is nothing to ask; once there is one, the round is due at once.
        if not self._consensus.raft.leader or not self.bounded:
            return
        clock = self._clock()
        waiting = self._round is not None and not self._round.done()
        if waiting or clock - self._asked < self._every_s:
            return
        self._asked = clock
        self._round = _Round(self, clock)
        try:
            # A round that is not confirmed within the bound can confirm nothing of use.
            self._consensus.await_read(now + self.max_s, self._round)
        except NotNow:
            self._round = None  # the node is stopping


class _Round:
    """Implements `Waiter`: a round that this member asked for at `as_of`."""

    def __init__(self, freshness: Freshness, as_of: float) -> None:
        self._freshness = freshness
        self._as_of = as_of
        self._done = False

    def done(self) -> bool:
        return self._done

    def set_result(self, result: None, /) -> None:
        self._done = True
        self._freshness.confirmed(self._as_of)

    def set_exception(self, exception: BaseException, /) -> None:
        # No leader, or no answer in time: staleness grows until a later round is confirmed, and that is reported.
        self._done = True
