"""Linearizable reads without log entries: ReadIndex (Raft 8, thesis 6.4).

The leader notes its commit index, proves with a round of heartbeats that it still led after the read was asked for,
and answers with the index. Rounds are numbered by an internal counter that only grows, so that neither a late reply
nor a caller's reused id can confirm a newer read (etcd-io/raft#397). All reads that wait share one round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from collectionstore_node.raft.messages import NO_NODE, Configuration, Index, NodeId
from collectionstore_node.raft.tracker.quorum import committed_index


class ReadRequest(NamedTuple):
    """A read that waits for its index. `origin` is the asking follower, NO_NODE for this node's own reads."""

    origin: NodeId
    request_id: int


class ReadRound(NamedTuple):
    """Reads that are confirmed together: `commit` may be served once a quorum acknowledged `sequence`."""

    sequence: int
    commit: Index
    requests: tuple[ReadRequest, ...]


class ReadQueue:
    """The leader's reads, from asking to confirmation. Lives as long as one leadership."""

    __slots__ = ("_acked", "_rounds", "sequence", "waiting")

    def __init__(self) -> None:
        self.sequence = 0
        """Number of the newest round; every heartbeat carries it."""
        self._acked: dict[NodeId, Index] = {}
        self.waiting: list[ReadRequest] = []
        """Reads outside every round."""
        self._rounds: deque[ReadRound] = deque()

    @property
    def unconfirmed(self) -> bool:
        """Whether a round is out."""
        return bool(self._rounds)

    def add(self, request: ReadRequest) -> None:
        """Queue a read for the next round."""
        self.waiting.append(request)

    def begin_round(self, commit: Index) -> int:
        """Put every waiting read into a new round at `commit`; return its number, to be sent in heartbeats."""
        self.sequence += 1
        self._rounds.append(ReadRound(self.sequence, commit, tuple(self.waiting)))
        self.waiting.clear()
        return self.sequence

    def acknowledged(self, node_id: NodeId, sequence: int) -> None:
        """Record that `node_id` answered the heartbeat of `sequence`. Replies may be late or out of order."""
        if sequence > self._acked.get(node_id, 0):
            self._acked[node_id] = Index(sequence)

    def confirmed(self, leader: NodeId, configuration: Configuration) -> Iterator[ReadRound]:
        """Take out the rounds that a quorum of `configuration`, as it is now, has confirmed."""
        if not self._rounds:
            return
        self._acked[leader] = Index(self.sequence)
        reached = committed_index(self._acked, configuration.voters, configuration.outgoing)
        while self._rounds and self._rounds[0].sequence <= reached:
            yield self._rounds.popleft()

    def own_requests(self) -> Iterator[int]:
        """Return the ids of this node's own reads that are still unconfirmed."""
        pending = list(self.waiting)
        for batch in self._rounds:
            pending.extend(batch.requests)
        return (request.request_id for request in pending if request.origin == NO_NODE)


class ForwardedReads:
    """A follower's reads that the leader was asked for. A lost request or reply must not make them wait for ever.

    The ids on the wire are drawn from a counter that starts anywhere: a reply meant for an earlier life of this
    process must not confirm a read of this one.
    """

    __slots__ = ("_next_id", "_pending")

    def __init__(self, first_id: int) -> None:
        self._next_id = first_id
        self._pending: dict[int, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def sent(self, request_id: int, tick: int) -> int:
        """Note a read that is about to be forwarded; return the id to use on the wire."""
        wire_id = self._next_id
        self._next_id += 1
        self._pending[wire_id] = (request_id, tick)
        return wire_id

    def answered(self, wire_id: int) -> int | None:
        """Return the caller's id of the read that `wire_id` answers; None for a late or repeated reply."""
        found = self._pending.pop(wire_id, None)
        return None if found is None else found[0]

    def expired(self, asked_before_tick: int) -> Iterator[int]:
        """Take out the reads sent before a tick."""
        while self._pending:
            wire_id, (request_id, tick) = next(iter(self._pending.items()))
            if tick >= asked_before_tick:
                return
            del self._pending[wire_id]
            yield request_id

    def abandon(self) -> list[int]:
        """Take out every read: the leader that was asked leads no more."""
        abandoned = [request_id for request_id, _ in self._pending.values()]
        self._pending.clear()
        return abandoned
