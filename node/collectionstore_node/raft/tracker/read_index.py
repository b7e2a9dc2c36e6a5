"""Linearizable reads without log entries: ReadIndex (Raft 8, thesis 6.4).

The leader records its commit index, confirms its leadership with a round of heartbeats sent AFTER the request, and
replies with the index. Rounds are numbered by an internal monotonic counter, so that neither a delayed reply nor a
reused request ID confirms a newer read (etcd-io/etcd#20418, etcd-io/raft#397). All waiting reads share one round.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from collectionstore_node.raft.messages import NO_NODE, Configuration, Index, NodeId
from collectionstore_node.raft.tracker.quorum import committed_index


class ReadRequest(NamedTuple):
    """A pending read. `origin` is the follower that forwarded it, NO_NODE for this node's own reads."""

    origin: NodeId
    request_id: int


class ReadRound(NamedTuple):
    """Reads that are confirmed together: they may be served at `commit` once a quorum acknowledged `sequence`."""

    sequence: int
    commit: Index
    requests: tuple[ReadRequest, ...]


class ReadQueue:
    """The leader's reads, from request to confirmation. Part of one leadership."""

    __slots__ = ("_acked", "_rounds", "sequence", "waiting")

    def __init__(self) -> None:
        self.sequence = 0
        """Number of the latest round; every heartbeat carries it."""
        self._acked: dict[NodeId, Index] = {}
        self.waiting: list[ReadRequest] = []
        """Reads that are in no round yet."""
        self._rounds: deque[ReadRound] = deque()

    @property
    def unconfirmed(self) -> bool:
        """Whether a round is in flight."""
        return bool(self._rounds)

    def add(self, request: ReadRequest) -> None:
        """Queue a read for the next round."""
        self.waiting.append(request)

    def begin_round(self, commit: Index) -> int:
        """Move all waiting reads into a new round at `commit`; return its number, to be sent in heartbeats."""
        self.sequence += 1
        self._rounds.append(ReadRound(self.sequence, commit, tuple(self.waiting)))
        self.waiting.clear()
        return self.sequence

    def acknowledged(self, node_id: NodeId, sequence: int) -> None:
        """Record that `node_id` acknowledged the heartbeat of `sequence`."""
        # The maximum, not the latest: replies may be reordered.
        if sequence > self._acked.get(node_id, 0):
            self._acked[node_id] = Index(sequence)

    def confirmed(self, leader: NodeId, configuration: Configuration) -> Iterator[ReadRound]:
        """Remove and yield the rounds that a quorum of `configuration` has confirmed."""
        if not self._rounds:
            return
        self._acked[leader] = Index(self.sequence)
        # The rule for committing an entry confirms a round too: the highest sequence on a quorum, joint or not.
        reached = committed_index(self._acked, configuration.voters, configuration.outgoing)
        while self._rounds and self._rounds[0].sequence <= reached:
            yield self._rounds.popleft()

    def own_requests(self) -> Iterator[int]:
        """Return the request IDs of this node's own unconfirmed reads."""
        pending = list(self.waiting)
        for batch in self._rounds:
            pending.extend(batch.requests)
        return (request.request_id for request in pending if request.origin == NO_NODE)


class ForwardedReads:
    """A follower's reads that were forwarded to the leader; they expire if a request or reply is lost.

    IDs on the wire come from a counter with a random start: a reply to an earlier run of this process must not confirm
    a read of the current one.
    """

    __slots__ = ("_next_id", "_pending")

    def __init__(self, first_id: int) -> None:
        self._next_id = first_id
        self._pending: dict[int, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._pending)

    def sent(self, request_id: int, tick: int) -> int:
        """Record a read that is being forwarded; return its ID on the wire."""
        wire_id = self._next_id
        self._next_id += 1
        self._pending[wire_id] = (request_id, tick)
        return wire_id

    def answered(self, wire_id: int) -> int | None:
        """Return the request ID of the read that `wire_id` answers; None for a delayed or duplicate reply."""
        found = self._pending.pop(wire_id, None)
        return None if found is None else found[0]

    def expired(self, asked_before_tick: int) -> Iterator[int]:
        """Remove and yield the reads that were sent before a tick."""
        while self._pending:
            wire_id, (request_id, tick) = next(iter(self._pending.items()))
            if tick >= asked_before_tick:
                return
            del self._pending[wire_id]
            yield request_id

    def abandon(self) -> list[int]:
        """Remove and return every read: the leader that they were forwarded to is no longer followed."""
        abandoned = [request_id for request_id, _ in self._pending.values()]
        self._pending.clear()
        return abandoned
