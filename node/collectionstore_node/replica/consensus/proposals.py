"""The queue of commands to propose, and the futures that wait for their outcomes.

Commands that arrive while a sync or a round trip is running are coalesced into ONE entry, so that the core, the disk
and the wire pay per batch, not per request.

Invariants:
- a future fails as "not applied" only if its command never reached the core, or if another entry was committed at its
  index: (index, term) identifies an entry permanently (Raft 5.3);
- losing leadership resolves nothing: the entry may still commit. Its outcome is known when its index is applied, or
  unknown at the deadline;
- a command that its entry had no room for (DEFERRED) is certainly not applied, and is proposed again, first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final

from collectionstore_node.errors import (
    LeadershipTransferring,
    NodeError,
    NotLeader,
    NotNow,
    OutcomeUnknown,
    Overloaded,
)
from collectionstore_node.metrics import ProposalSeries
from collectionstore_node.raft.messages import Index, Term
from collectionstore_node.replica.observation.command import EarlyWaiter, QueuedCommand, Waiter
from collectionstore_node.statemachine.commands import Code, Outcome

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span

ENTRY_COMMANDS_MAX = 1_024
ENTRY_BYTES_MAX = 1 << 20
FEW_COMMANDS: Final = 16
"""With fewer commands under way, those that wait are proposed, however few they are."""
MANY_COMMANDS: Final = 64
"""So many commands, or so many bytes of them, are worth an entry of their own, however many are under way."""
ENOUGH_BYTES: Final = 64 << 10
NO_ANSWERS: Final[Mapping[int, Outcome]] = {}


@dataclass(slots=True)
class _Proposed:
    """A proposed entry, and when it was proposed."""

    term: Term
    batch: list[QueuedCommand]
    since: float


class Proposals:
    """The leader's queue of commands and its table of proposed entries. Belongs to the event loop."""

    def __init__(
        self, *, waiting_max: int, bytes_max: int, loop: asyncio.AbstractEventLoop, series: ProposalSeries
    ) -> None:
        """Let at most `waiting_max` commands wait, of `bytes_max` bytes in total, or one larger command."""
        self.waiting_max = waiting_max
        self.bytes_max = bytes_max
        self._waiting_bytes = 0
        self._waiting: list[QueuedCommand] = []
        self._proposed: dict[Index, _Proposed] = {}
        self._term = Term(0)
        """Of the entry that was proposed last."""
        self._under_way = 0
        """Commands of entries of this term that are not applied."""
        self._loop = loop
        self._series = series
        self._closed = False
        self._commands_max = ENTRY_COMMANDS_MAX
        """Commands of the next entry; fewer after an entry that had no room for all of them."""
        self._early = 0
        """How many of the commands that wait have an early waiter."""
        self._unsynced: deque[tuple[Index, Term, list[EarlyWaiter]]] = deque()
        """Those of proposed entries that this member's disk may not have, by index."""

    @property
    def waiting(self) -> int:
        """Number of commands that have not reached the core yet."""
        return len(self._waiting)

    @property
    def pending(self) -> int:
        """Number of proposed entries that are not applied, those that an earlier leadership may have lost included."""
        return len(self._proposed)

    @property
    def enough(self) -> bool:
        """Whether what waits is worth an entry of its own, although others are under way.

        An entry costs every member as much as a dozen commands, whatever is in it. So while many commands are under
        way as many others gather, and share one; at the latest until the entries before theirs are applied, ahead of
        which no entry can be. With few clients the processor has the time, and latency counts: none waits.

        The price is up to one more commit of latency, for 17 clients and more: little where members are a millisecond
        apart, a round trip where they are far apart.
        """
        under_way = self._under_way
        return (
            under_way < FEW_COMMANDS
            or len(self._waiting) >= min(under_way, MANY_COMMANDS)
            or self._waiting_bytes >= ENOUGH_BYTES
        )

    def submit(self, command: bytes, deadline: float, span: Span | None = None) -> asyncio.Future[Outcome]:
        """Queue an encoded command, and return the future of its outcome. Raises as `enqueue`."""
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self.enqueue(command, deadline, future, span)
        return future

    def enqueue(
        self,
        command: bytes,
        deadline: float,
        waiter: Waiter[Outcome],
        span: Span | None = None,
        early: EarlyWaiter | None = None,
    ) -> None:
        """Queue an encoded command; `waiter` is told its outcome, or why there is none. `early` is the same, or None.

        Raises `Overloaded` when the queue is full, `NotNow` when the node is stopping; `waiter` is told nothing then.
        """
        if self._closed:
            self._series.failed["stopping"].inc()
            raise NotNow("the node is stopping")
        if len(self._waiting) >= self.waiting_max:
            self._series.failed["overloaded"].inc()
            raise Overloaded(f"{self.waiting_max} commands are waiting already")
        if self._waiting and self._waiting_bytes + len(command) > self.bytes_max:
            self._series.failed["overloaded"].inc()
            raise Overloaded(f"{self._waiting_bytes} bytes of commands are waiting already")
        self._waiting_bytes += len(command)
        self._waiting.append(QueuedCommand(command, deadline, waiter, perf_counter(), span, early))
        if early is not None:
            self._early += 1

    def take(self) -> list[QueuedCommand]:
        """Take the commands of the next entry from the queue, in order of arrival; empty when none wait.

        Commands whose caller has gone are dropped: they have not been proposed, so nothing is lost.
        """
        batch: list[QueuedCommand] = []
        size = taken = 0
        for waiting in self._waiting:
            if batch and (len(batch) >= self._commands_max or size + len(waiting.command) > ENTRY_BYTES_MAX):
                break
            taken += 1
            self._waiting_bytes -= len(waiting.command)
            if not waiting.future.done():
                batch.append(waiting)
                size += len(waiting.command)
            elif waiting.early is not None:
                self._early -= 1
        del self._waiting[:taken]
        return batch

    def proposed(self, index: Index, term: Term, batch: list[QueuedCommand], size_bytes: int) -> None:
        """Record that `batch` waits for the entry at (`index`, `term`), of `size_bytes`."""
        self._series.proposed.inc(len(batch))
        self._series.entry_commands.observe(len(batch))
        self._series.entry_bytes.observe(size_bytes)
        if term != self._term:
            # Entries of an earlier leadership may be in no log any more: nothing waits for them.
            self._term, self._under_way = term, 0
        displaced = self._pop(index)
        if displaced is not None:
            # This node led before, lost that entry, and now proposes another at the same index. The old entry may
            # survive on other members only if this one does not commit, so its outcome is unknown.
            self._fail(displaced.batch, "unknown", OutcomeUnknown("the entry was displaced by a newer one"))
        self._proposed[index] = _Proposed(term, batch, perf_counter())
        self._under_way += len(batch)
        if self._early:
            early = [one.early for one in batch if one.early is not None]
            if early:
                self._early -= len(early)
                self._unsynced.append((index, term, early))

    def synced(self, durable: Index, term: Term | None) -> None:
        """Tell those who wait for the leader's own disk, whose log is durable up to `durable`.

        `term` is that in which this member leads, None if it does not. Entries of other terms may have been replaced:
        nothing is said of them, until they are applied or their time is up.
        """
        unsynced = self._unsynced
        while unsynced and (unsynced[0][0] <= durable or unsynced[0][1] != term):
            _, of_term, early = unsynced.popleft()
            if of_term == term:
                for one in early:
                    one.durable()

    def _pop(self, index: Index) -> _Proposed | None:
        proposed = self._proposed.pop(index, None)
        if proposed is not None and proposed.term == self._term:
            self._under_way -= len(proposed.batch)
        return proposed

    def waits(self, index: Index, term: Term) -> bool:
        """Whether commands wait for the entry at (`index`, `term`)."""
        waited = self._proposed.get(index)
        return waited is not None and waited.term == term

    def applied(
        self, index: Index, term: Term, outcomes: Sequence[Outcome], answers: Mapping[int, Outcome] = NO_ANSWERS
    ) -> None:
        """Resolve the commands that wait at `index`; with another term there, they can never be applied (Raft 5.3).

        `answers` are outcomes with values, by position, in place of those in `outcomes`.
        """
        waited = self._pop(index)
        if waited is None:
            return
        if waited.term != term:
            # Another leader's entry was committed at this index, so this one never can be (Raft 5.3): a retry is safe.
            self._fail(waited.batch, "displaced", NotLeader())
            return
        now, observe = perf_counter(), self._series.seconds.observe
        self._series.commit_seconds.observe(now - waited.since)
        deferred: list[QueuedCommand] = []
        untraced: list[float] = []
        code_deferred = Code.DEFERRED
        for position, (waiting, outcome) in enumerate(zip(waited.batch, outcomes, strict=True)):
            if outcome.code is code_deferred:
                deferred.append(waiting)
                continue
            span = waiting.span
            if span is None:
                untraced.append(now - waiting.since)
            else:
                observe(now - waiting.since, span.trace_id)
            future = waiting.future
            if not future.done():
                future.set_result(answers.get(position, outcome) if answers else outcome)
        self._series.seconds.observe_all(untraced)
        done = len(waited.batch) - len(deferred)
        self._series.committed.inc(done)
        self._adapt(done, deferred)

    def _adapt(self, done: int, deferred: list[QueuedCommand]) -> None:
        """Propose again what an entry had no room for, and fit the size of the next entries to what has room."""
        if deferred:
            # First, and in order: they have waited for an entry already. Behind a full queue too, as they came before.
            self._waiting[:0] = deferred
            self._waiting_bytes += sum(len(one.command) for one in deferred)
            self._early += sum(one.early is not None for one in deferred)
            self._commands_max = max(1, done)
            self._series.deferred.inc(len(deferred))
        elif done >= self._commands_max:
            self._commands_max = min(2 * self._commands_max, ENTRY_COMMANDS_MAX)

    def skipped_to(self, index: Index) -> None:
        """A snapshot replaced the log up to `index`: the outcomes of entries below it are unknown here."""
        for at in [at for at in self._proposed if at <= index]:
            if (passed := self._pop(at)) is not None:
                self._fail(passed.batch, "unknown", OutcomeUnknown("a snapshot passed over the entry"))

    def refuse_waiting(self, error: Callable[[], NotNow]) -> None:
        """Fail all commands that have not reached the core: they are certainly not applied."""
        waiting, self._waiting = self._waiting, []
        self._waiting_bytes = self._early = 0
        for one in waiting:
            self.refuse([one], error())

    def refuse(self, batch: Sequence[QueuedCommand], error: NotNow) -> None:
        """Fail commands that were taken and could not be proposed."""
        self._fail(batch, _reason(error), error)

    def abandon(self, batch: Sequence[QueuedCommand]) -> None:
        """Fail commands that were taken when proposing them went wrong: the core may hold the entry."""
        self._fail(batch, "unknown", OutcomeUnknown("the entry could not be proposed"))

    def expire(self, now: float) -> None:
        """Fail commands past their deadline: not applied if they never reached the core, else unknown."""
        if any(one.deadline <= now for one in self._waiting):
            late = [one for one in self._waiting if one.deadline <= now]
            self._waiting = [one for one in self._waiting if one.deadline > now]
            self._waiting_bytes = sum(len(one.command) for one in self._waiting)
            self._early = sum(one.early is not None for one in self._waiting)
            self._fail(late, "expired", Overloaded("the command waited until its deadline and was not proposed"))
        for index, proposed in list(self._proposed.items()):
            late = [one for one in proposed.batch if one.deadline <= now]
            self._fail(late, "unknown", OutcomeUnknown("not committed within the deadline"))
            if all(one.future.done() for one in proposed.batch):
                self._pop(index)

    def close(self) -> None:
        """Fail everything: queued commands are not applied, the outcome of proposed ones is unknown."""
        self._closed = True
        self.refuse_waiting(lambda: NotNow("the node is stopping"))
        for proposed in self._proposed.values():
            self._fail(proposed.batch, "unknown", OutcomeUnknown("the node is stopping"))
        self._proposed.clear()
        self._unsynced.clear()
        self._under_way = 0

    def _fail(self, batch: Sequence[QueuedCommand], reason: str, error: NodeError) -> None:
        failed = self._series.failed[reason]
        for waiting in batch:
            if not waiting.future.done():
                waiting.future.set_exception(error)
                failed.inc()


def _reason(error: NotNow) -> str:
    """Return the label value that counts commands rejected with `error`."""
    match error:
        case NotLeader():
            return "not_leader"
        case LeadershipTransferring():
            return "transferring"
        case Overloaded():
            return "overloaded"
        case _:
            return "stopping"
