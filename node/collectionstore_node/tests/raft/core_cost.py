"""What the core costs an entry: `python -m collectionstore_node.tests.raft.core_cost`. Best of several rounds.

A leader of three and one of its followers, without disk and network; the other follower acknowledges at once. Only the
calls of the core are timed, in processor time of the thread.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from time import thread_time
from typing import Final

from collectionstore_node.raft.log_reader import LogReader
from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    AppendReply,
    Configuration,
    Entry,
    HardState,
    Index,
    Message,
    NodeId,
    SnapshotMetadata,
    Term,
    decode_messages,
    encode,
)
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.settings import RaftSettings

LEADER, FOLLOWER, THIRD = NodeId(1), NodeId(2), NodeId(3)
ENTRY_BYTES: Final = 6_000
"""Of some twenty documents of 255 bytes."""
ENTRIES: Final = 300
"""Of a round: all of them are in memory, so that nothing is read."""
ROUNDS: Final = 9


class EmptyLog(LogReader):
    """A stored log without entries."""

    def first_index(self) -> Index:
        return Index(1)

    def last_index(self) -> Index:
        return Index(0)

    def snapshot(self) -> SnapshotMetadata:
        return SnapshotMetadata()

    def term(self, index: Index) -> Term:
        return Term(0)

    def chain(self, index: Index) -> bytes:
        return GENESIS_CHAIN

    def entries(self, lo: Index, hi: Index, bytes_max: int) -> tuple[Entry, ...]:
        return ()


class TimedNode:
    """A core with its driver, whose disk takes no time."""

    def __init__(self, node_id: NodeId) -> None:
        self.seconds = 0.0
        self.core = RaftNode(
            node_id,
            RaftSettings(election_ticks=10, heartbeat_ticks=2),
            EmptyLog(),
            hard_state=HardState(),
            configuration=Configuration(voters=(LEADER, FOLLOWER, THIRD)),
            applied=Index(0),
            random_ticks=lambda lo, _hi: lo,
        )

    def tick(self) -> list[Message]:
        """Tick, and return what is to be sent."""
        self.core.tick()
        return self._turn()

    def propose(self, data: bytes) -> list[Message]:
        """Propose, and return what is to be sent."""
        began = thread_time()
        self.core.propose(data)
        sent = self._turn()
        self.seconds += thread_time() - began
        return sent

    def take(self, messages: Sequence[Message]) -> list[Message]:
        """Step `messages`, and return what is to be sent."""
        # As they come from the wire: not the objects that the sender still holds.
        received = decode_messages(encode(messages))
        began = thread_time()
        sent: list[Message] = []
        for message in received:
            self.core.step(message)
            sent += self._turn()
        self.seconds += thread_time() - began
        return sent

    def _turn(self) -> list[Message]:
        core = self.core
        sent: list[Message] = []
        while core.has_ready():
            ready = core.ready()
            sent += ready.messages
            core.advance(ready)
            if ready.write:
                sent += core.durable(ready.write)
        return sent


def settle(leader: TimedNode, follower: TimedNode, messages: list[Message]) -> None:
    """Carry messages between the two until there are none; the third member acknowledges what the other one does."""
    while messages:
        answers = follower.take([one for one in messages if one.to == FOLLOWER])
        acknowledged = [AppendReply(THIRD, LEADER, one.term, one.index) for one in answers if type(one) is AppendReply]
        messages = leader.take([*answers, *acknowledged])


def measure() -> tuple[float, float]:
    """Return microseconds per entry of the leader and of a follower."""
    leader, follower = TimedNode(LEADER), TimedNode(FOLLOWER)
    while not leader.core.is_leader:
        settle(leader, follower, leader.tick())
    rounds = []
    for _ in range(ROUNDS):
        leader.seconds = follower.seconds = 0.0
        for _ in range(ENTRIES):
            settle(leader, follower, leader.propose(bytes(ENTRY_BYTES)))
        rounds.append((leader.seconds, follower.seconds))
    assert follower.core.applied == leader.core.applied == leader.core.last_index > ROUNDS * ENTRIES
    best = [min(seconds) / ENTRIES * 1e6 for seconds in zip(*rounds, strict=True)]
    return best[0], best[1]


def main() -> None:
    """Print both."""
    gc.disable()
    leader, follower = measure()
    sys.stdout.write(f"us per entry: leader {leader:.1f}, follower {follower:.1f}\n")


if __name__ == "__main__":
    main()
