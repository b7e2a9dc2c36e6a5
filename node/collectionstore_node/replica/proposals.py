"""Commands on their way into the log, and the futures that wait for what becomes of them.

Commands that arrive while a sync or a round trip is running are coalesced into ONE entry, so that the core, the disk
and the wire pay per batch, not per request.

Invariants:
- a future fails as "not applied" only if its command never reached the core, or if another entry was committed at its
  index: (index, term) names an entry for ever (Raft 5.3);
- losing leadership resolves nothing: the entry may still commit. The fate is learnt when its index is applied, or it
  stays unknown at the deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from collectionstore_node.errors import NodeError, NotLeader, NotNow, OutcomeUnknown, Overloaded
from collectionstore_node.raft.messages import Index, Term
from collectionstore_node.statemachine.commands import Outcome

ENTRY_COMMANDS_MAX = 1_024
ENTRY_BYTES_MAX = 1 << 20


@dataclass(slots=True)
class Waiting:
    """An encoded command and its caller; `deadline` is loop time in seconds."""

    command: bytes
    deadline: float
    future: asyncio.Future[Outcome]


class Proposals:
    """The leader's queue of commands and its table of proposed ones. Belongs to the event loop."""

    def __init__(self, *, waiting_max: int, create_future: Callable[[], asyncio.Future[Outcome]]) -> None:
        self._waiting: list[Waiting] = []
        self._waiting_max = waiting_max
        self._proposed: dict[Index, tuple[Term, list[Waiting]]] = {}
        self._create_future = create_future
        self._closed = False

    @property
    def waiting(self) -> int:
        """Number of commands that have not reached the core yet."""
        return len(self._waiting)

    @property
    def pending(self) -> int:
        """Number of entries whose outcome somebody waits for."""
        return len(self._proposed)

    def submit(self, command: bytes, deadline: float) -> asyncio.Future[Outcome]:
        """Queue an encoded command. Raises `Overloaded` when the queue is full, `NotNow` when the node is stopping."""
        if self._closed:
            raise NotNow("the node is stopping")
        if len(self._waiting) >= self._waiting_max:
            raise Overloaded(f"{self._waiting_max} commands are waiting already")
        future = self._create_future()
        self._waiting.append(Waiting(command, deadline, future))
        return future

    def take(self) -> list[Waiting]:
        """Return the commands of the next entry, in order of arrival, and forget them; empty when none wait.

        Commands whose caller has gone are dropped: they have not been proposed, so nothing is lost.
        """
        batch: list[Waiting] = []
        size = taken = 0
        for waiting in self._waiting:
            if batch and (len(batch) >= ENTRY_COMMANDS_MAX or size + len(waiting.command) > ENTRY_BYTES_MAX):
                break
            taken += 1
            if not waiting.future.done():
                batch.append(waiting)
                size += len(waiting.command)
        del self._waiting[:taken]
        return batch

    def proposed(self, index: Index, term: Term, batch: list[Waiting]) -> None:
        """Remember who waits for the entry at (`index`, `term`)."""
        displaced = self._proposed.pop(index, None)
        if displaced is not None:
            # This node led before, lost that entry, and now proposes another at the same index. The old entry may
            # survive on others only if this one does not commit, so its fate is still open.
            self._fail(displaced[1], OutcomeUnknown("the entry was displaced by a newer one"))
        self._proposed[index] = (term, batch)

    def applied(self, index: Index, term: Term, outcomes: Sequence[Outcome]) -> None:
        """Resolve whoever waits at `index`; another term there means that theirs can never be applied."""
        waited = self._proposed.pop(index, None)
        if waited is None:
            return
        if waited[0] != term:
            self._fail(waited[1], NotLeader())
            return
        for waiting, outcome in zip(waited[1], outcomes, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(outcome)

    def skipped_to(self, index: Index) -> None:
        """A snapshot replaced the log up to `index`: the fate of entries below cannot be learnt here."""
        for at in [at for at in self._proposed if at <= index]:
            self._fail(self._proposed.pop(at)[1], OutcomeUnknown("a snapshot passed over the entry"))

    def refuse_waiting(self, error: Callable[[], NotNow]) -> None:
        """Fail everything that has not reached the core."""
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._fail([one], error())

    def expire(self, now: float) -> None:
        """Fail what is past its deadline: not applied if it never reached the core, else unknown."""
        if any(one.deadline <= now for one in self._waiting):
            late = [one for one in self._waiting if one.deadline <= now]
            self._waiting = [one for one in self._waiting if one.deadline > now]
            self._fail(late, Overloaded("the command waited until its deadline and was not proposed"))
        for index, (_, batch) in list(self._proposed.items()):
            self._fail(
                [one for one in batch if one.deadline <= now], OutcomeUnknown("not committed within the deadline")
            )
            if all(one.future.done() for one in batch):
                del self._proposed[index]

    def close(self) -> None:
        """The node stops: what was not proposed is not applied, the rest is unknown."""
        self._closed = True
        self.refuse_waiting(lambda: NotNow("the node is stopping"))
        for _, batch in self._proposed.values():
            self._fail(batch, OutcomeUnknown("the node is stopping"))
        self._proposed.clear()

    @staticmethod
    def _fail(batch: Sequence[Waiting], error: NodeError) -> None:
        for waiting in batch:
            if not waiting.future.done():
                waiting.future.set_exception(error)
