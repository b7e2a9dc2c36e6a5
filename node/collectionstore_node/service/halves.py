"""`Halves`: reads and writes in two halves, see `Pending`."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from time import perf_counter
from typing import Final

from collectionstore_node.access.current import CALLER, calling
from collectionstore_node.errors import LeadershipTransferring, NotLeader
from collectionstore_node.service.door import Door
from collectionstore_node.service.idempotency import command_for
from collectionstore_node.service.operations import Read, Write
from collectionstore_node.service.pending import Pending, wait_for
from collectionstore_node.service.query_thread import QueryThread
from collectionstore_node.service.results import Code, Outcome, ReadResult
from collectionstore_node.service.seeing import Unseen
from collectionstore_node.statemachine.commands import Command

_NO_LEADER: Final = (NotLeader, LeadershipTransferring)
"""Certainly not applied: the next leader may take it."""
_TURN: Final = object()
"""The result of a read that has waited for its turn."""


class Halves:
    """The operations of the hot path: part of `Store`, whose errors they raise."""

    __slots__ = ("_door", "_thread")

    def __init__(self, door: Door, thread: QueryThread) -> None:
        """`thread` shows large documents to callers who see a part of them."""
        self._door = door
        self._thread = thread

    def begin_write(self, pending: Pending, write: Write, timeout_s: float) -> None:
        """Begin `write` under `pending.key`. Raises what refuses it at once; call `end_write` otherwise."""
        door = self._door
        door.admit(write)
        pending.target = write
        if door.access.enabled:
            pending.caller = CALLER.get()
        pending.entered = door.writes.enter(timeout_s)
        try:
            door.replica.begin(self._command(write, pending.key), pending, timeout_s=timeout_s)
        except _NO_LEADER as error:
            pending.set_exception(error)
        except BaseException:
            self._door.writes.abandon()
            raise

    def end_write(self, pending: Pending, timeout_s: float) -> Outcome | None:
        """Return the outcome of a write, None if it waits again. Raises as `write`; `timeout_s` is of its begin."""
        error = pending.error
        if error is None:
            outcome: Outcome = pending.result
            if self._door.access.enabled:
                with calling(pending.caller):
                    return self._answered(pending, outcome, timeout_s)
            self._door.writes.leave(pending.entered)
            return outcome
        if isinstance(error, _NO_LEADER) and not pending.again:
            with calling(pending.caller):
                command = self._command(pending.target, pending.key)  # type: ignore[arg-type]  # what was written
                wait_for(pending, self._door.replica.propose(command, timeout_s=_rest_s(pending, timeout_s)))
            return None
        self._door.writes.abandon()
        raise error

    def _answered(self, pending: Pending, outcome: Outcome, timeout_s: float) -> Outcome | None:
        """Do as `end_write` with an outcome while access control asks."""
        door, write = self._door, pending.target
        if outcome.code is Code.ACCESS_CHANGED:
            made = partial(self._command, write, pending.key)  # type: ignore[arg-type]  # it is what was written
            again = door.proposed_again(write, made, outcome, _rest_s(pending, timeout_s))  # type: ignore[arg-type]
            wait_for(pending, again)
            return None
        door.writes.leave(pending.entered)
        return door.answered(write, outcome)  # type: ignore[arg-type]

    def _command(self, write: Write, key: str | None) -> Command:
        door = self._door
        if not door.access.enabled:
            return command_for(write, key)
        return door.command(command_for(write, door.key(key)))

    def begin_read(self, pending: Pending, target: Read, timeout_s: float) -> None:
        """Begin a linearizable read. Raises what refuses it at once; call `end_read` otherwise."""
        self._begin(pending, target)
        self._door.replica.begin_read(pending, timeout_s=timeout_s)

    def _begin(self, pending: Pending, target: Read) -> None:
        self._door.admit(target)
        pending.target = target
        if self._door.access.enabled:
            pending.caller = CALLER.get()

    def end_read(self, pending: Pending, timeout_s: float) -> ReadResult | None:
        """Return what a read found, None if it waits again. Raises as `read`; `timeout_s` is that of its begin."""
        error = pending.error
        if error is not None:
            if isinstance(error, NotLeader) and not pending.again:
                wait_for(pending, self._door.replica.read_barrier(timeout_s=_rest_s(pending, timeout_s)))
                return None
            raise error
        if not pending.again:
            self._door.replica.read_confirmed(pending.began)
        return self._read(pending, timeout_s)

    def begin_stale_read(self, pending: Pending, target: Read, timeout_s: float) -> None:
        """Begin a read that is as stale as this member allows. Raises what refuses it at once."""
        self._begin(pending, target)
        replica = self._door.replica
        if replica.is_fresh():
            pending.set_result(None)
        else:
            wait_for(pending, replica.stale_barrier(None, timeout_s=timeout_s))

    def end_stale_read(self, pending: Pending, timeout_s: float) -> ReadResult | None:
        """Return what a stale read found, None if it waits again. Raises as `read`."""
        if pending.error is not None:
            raise pending.error
        return self._read(pending, timeout_s)

    def _read(self, pending: Pending, timeout_s: float) -> ReadResult | None:
        if isinstance(pending.result, ReadResult):
            return pending.result  # it was shown in the thread
        if self._door.turns.reads_wait and pending.result is not _TURN:
            wait_for(pending, self._turn_of_read())
            return None
        target: Read = pending.target  # type: ignore[assignment]  # it is what is read
        if not self._door.access.enabled:
            found = self._door.read_now(target)
        else:
            with calling(pending.caller):
                found = self._door.read_now(target)
        if isinstance(found, ReadResult):
            return found
        wait_for(pending, self._shown(found, _rest_s(pending, timeout_s)))
        return None

    async def _shown(self, found: Unseen, timeout_s: float) -> ReadResult:
        def steps() -> Generator[None, None, ReadResult]:
            return found.seen()
            yield

        return await self._thread.run(steps, timeout_s=timeout_s)

    async def _turn_of_read(self) -> object:
        await self._door.turns.read_turn()
        return _TURN


def _rest_s(pending: Pending, timeout_s: float) -> float:
    return max(0.0, timeout_s - (perf_counter() - pending.began))
