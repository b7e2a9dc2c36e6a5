"""Writes that the driver has taken and that are not durable yet, oldest first, with what waits for each of them.

A driver may take one `Ready` after the other while the disk still works on an earlier one (thesis 10.2.1; etcd-io/raft
"asynchronous storage writes"). Writes reach the disk in their order, so one sync ends all that were written before it.

Invariants:
- a message is held by the newest write that it may rest on, and leaves when that one is durable, in order;
- a write covers only entries that no later one replaces. An index may be overwritten and get its first entry back, with
  the same term, while the first write of it is still under way: its end must not speak for the last one, as a crash may
  leave what was written in between (the ABA race of etcd-io/raft, `async_storage_writes_append_aba_race.txt`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.messages import AppendReply, HardState, Index, Message


@dataclass(slots=True, eq=False)
class Write:
    """One write under way."""

    number: int
    covers: Index
    """The log is durable up to here once this write is; lowered when a later write replaces entries of it."""
    hard_state: HardState | None
    messages: list[Message]
    """What may leave once this write is durable (thesis 3.8)."""


class Writes:
    """The writes under way. Numbers ascend from 1."""

    __slots__ = ("_last_number", "_under_way")

    def __init__(self) -> None:
        self._last_number = 0
        self._under_way: deque[Write] = deque()

    def __len__(self) -> int:
        return len(self._under_way)

    def begin(self, covers: Index, hard_state: HardState | None, messages: list[Message]) -> int:
        """Add a write, which takes the log up to `covers`; return its number."""
        self._last_number += 1
        self._under_way.append(Write(self._last_number, covers, hard_state, messages))
        return self._last_number

    def hold(self, messages: Iterable[Message]) -> None:
        """Have `messages` wait for the newest write: there is one, and they rest on nothing later."""
        self._under_way[-1].messages.extend(messages)

    def held(self) -> tuple[Message, ...]:
        """Return the messages that wait, in the order in which they will leave."""
        return tuple(message for write in self._under_way for message in write.messages)

    def replaced_after(self, index: Index) -> None:
        """Entries after `index` will be replaced: no write that is under way speaks for what comes there."""
        for write in self._under_way:
            write.covers = min(write.covers, index)

    def forget_acknowledgements(self) -> None:
        """Drop the acknowledgements that wait: their term has ended."""
        for write in self._under_way:
            write.messages = [message for message in write.messages if type(message) is not AppendReply]

    def end(self, number: int) -> list[Write]:
        """Remove and return the writes up to `number`, oldest first. Raises `InvariantViolated` for one never begun."""
        if number > self._last_number:
            raise InvariantViolated(f"write {number} is durable, but only {self._last_number} were handed out")
        ended = []
        while self._under_way and self._under_way[0].number <= number:
            ended.append(self._under_way.popleft())
        return ended
