"""Writes that are answered before their outcome is known, and the tickets by which it can be asked.

A ticket is the idempotency key of the write with what is needed to judge its fate; members keep nothing of it. So any
member can be asked, also after the one that took the write is gone:

- the idempotency table has an outcome under the key: that is it;
- it has none, and has dropped records that are as new as the ticket: it is not known;
- it has none, and the write has time left: it is pending;
- it has none, and the time is up: a `Settle` with the same key is applied. Whichever of the two comes first in the log
  decides: the write was applied, or never will be, however late it comes.

The clock decides only when to settle, never how.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import enum
import hashlib
from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec
import uuid_utils

from collectionstore_node.errors import InvalidRequest, NodeError, OutcomeUnknown
from collectionstore_node.service.door import Door
from collectionstore_node.service.idempotency import command_for, stamped
from collectionstore_node.service.operations import IDEMPOTENCY_KEY, Action, Settle
from collectionstore_node.service.results import Code, Outcome
from collectionstore_node.service.viewed_commands import untold
from collectionstore_node.statemachine.admissible import FINGERPRINT_BYTES
from collectionstore_node.statemachine.codec import decode
from collectionstore_node.statemachine.commands import Command, Idempotency
from collectionstore_node.statemachine.dedupe import IdempotencyTable
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.view import Overlay

SLACK_MS: Final = 5_000
"""How long behind its time a write is still taken to be under way; it is settled only then, unless a client asks."""
CHARACTERS_MAX: Final = 512
_FORMAT: Final = 1


class Ticket(msgspec.Struct, frozen=True, array_like=True):
    """What says of which write the fate is asked."""

    format: int
    key: str
    """The idempotency key."""
    fingerprint: bytes
    sequence: int
    """The record of the write has this place in the queue of the idempotency table, or a later one."""
    until_ms: int
    """When its time is up, by the time of day of the member that took it. Milliseconds since 1970 UTC."""
    owner: bytes = b""
    """Tells the user to whom it was given from others; empty where it is everyone's. The key is stored by user, too."""


class State(enum.Enum):
    """What has become of a write."""

    PENDING = "pending"
    """It may yet be applied."""
    APPLIED = "applied"
    REFUSED = "refused"
    """It was applied and changed nothing: its outcome says why."""
    NOT_APPLIED = "not_applied"
    """It was not applied and never will be."""
    UNKNOWN = "unknown"
    """Its outcome, if it had one, is no longer kept."""


class Fate(msgspec.Struct, frozen=True):
    """The fate of a write, as of the store's `revision`; the outcome of one that was applied or refused."""

    state: State
    revision: int
    outcome: Outcome | None = None


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Ticket)


def show_ticket(ticket: Ticket) -> str:
    """Return the text of a ticket: URL-safe, at most CHARACTERS_MAX."""
    return base64.urlsafe_b64encode(_encoder.encode(ticket)).rstrip(b"=").decode()


def parse_ticket(text: str) -> Ticket:
    """Return the ticket of a text of `show_ticket`. Raises `InvalidRequest("invalid_ticket")`."""
    try:
        if len(text) > CHARACTERS_MAX:
            raise ValueError
        given = text.encode("ascii")
        ticket = decode(_decoder, base64.b64decode(given + b"=" * (-len(given) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, msgspec.DecodeError):
        raise InvalidRequest("invalid_ticket", "this is no ticket of a write") from None
    if (
        ticket.format != _FORMAT
        or not IDEMPOTENCY_KEY.fullmatch(ticket.key)
        or len(ticket.fingerprint) != FINGERPRINT_BYTES
        or ticket.sequence < 0
        or ticket.until_ms < 0
    ):
        raise InvalidRequest("invalid_ticket", "this is no ticket of a write that this version knows")
    return ticket


class Tickets:
    """Part of `Store`, whose errors it raises. Belongs to one event loop."""

    __slots__ = ("_door", "_under_way")

    def __init__(self, door: Door) -> None:
        self._door = door
        self._under_way: set[asyncio.Task[None]] = set()

    def queue(
        self, action: Action, *, key: str | None, timeout_s: float, told: Callable[[str], None], request: bytes | None
    ) -> str:
        """Take a write, and return its ticket at once; it takes a place among the writes in flight until it is decided.

        `told` is called then, once, with `applied`, `refused`, `not_applied` or `unknown`. A write that is not applied
        within `timeout_s` is given up. `request` is as in `command_for`. Raises what refuses it at once.
        """
        command, ticket = self._begin(action, key, timeout_s, request)
        entered = self._door.writes.enter(timeout_s)
        made = partial(self._command, action, key_of(ticket), request)
        work = asyncio.get_running_loop().create_task(self._carry_out(action, command, made, entered, timeout_s, told))
        self._under_way.add(work)
        work.add_done_callback(self._under_way.discard)
        return ticket

    async def early(
        self, action: Action, *, key: str | None, timeout_s: float, request: bytes | None
    ) -> tuple[Outcome | OutcomeUnknown | None, str]:
        """Make a write; return its ticket once the leader has it on its own disk, and its outcome if that is known.

        Where not even the first is known, the error is returned in place of an outcome.
        """
        command, ticket = self._begin(action, key, timeout_s, request)
        writes = self._door.writes
        entered = writes.enter(timeout_s)
        try:
            outcome = await self._door.replica.propose_early(command, timeout_s=timeout_s)
            if outcome is not None and outcome.code is Code.ACCESS_CHANGED:
                # Not by `propose_early` again: a change of rights is seldom.
                made = partial(self._command, action, key_of(ticket), request)
                outcome = await self._door.proposed_again(action, made, outcome, timeout_s)
        except OutcomeUnknown as error:
            writes.abandon()
            return error, ticket
        except BaseException:
            writes.abandon()
            raise
        writes.leave(entered)
        if outcome is not None and self._door.access.enabled:
            outcome = self._door.answered(action, outcome)
        return outcome, ticket

    async def fate(self, ticket: Ticket, *, settle: bool, timeout_s: float) -> Fate:
        """Return what has become of a write; with `settle` decide it, also while the write has time left.

        Raises `OutcomeUnknown`: ask again.
        """
        replica = self._door.replica
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout_s
        self._door.admit(Settle(ticket.sequence))
        if ticket.owner != _owner(self._door.user):
            raise InvalidRequest("invalid_ticket", "this is no ticket of a write of yours")
        await replica.read_barrier(timeout_s=timeout_s)
        # Without an await between: all of it is of one state.
        view, revision = replica.view, replica.revision
        header = read_header(view)
        idempotency = Idempotency(self._door.key(ticket.key) or "", ticket.fingerprint)
        outcome = IdempotencyTable(Overlay(view), header).answer(idempotency, header.revision)
        if outcome is None:
            if header.queue.first > ticket.sequence:
                return Fate(State.UNKNOWN, revision)
            if not settle and replica.wall_ms() < ticket.until_ms:
                return Fate(State.PENDING, revision)
            outcome = await self._settled(idempotency, ticket.sequence, deadline - clock())
        if self._door.limited() is not None:
            # Which documents it wrote is not known here.
            outcome = untold(outcome)
        return _fate_of(outcome, max(revision, replica.revision))

    async def _settled(self, idempotency: Idempotency, sequence: int, timeout_s: float) -> Outcome:
        writes = self._door.writes
        entered = writes.enter(timeout_s)
        try:
            # It checks again what may have been forgotten: meanwhile the table goes on.
            command = Command(Settle(sequence), idempotency)
            outcome = await self._door.replica.propose(command, timeout_s=timeout_s)
        except BaseException:
            writes.abandon()
            raise
        writes.leave(entered)
        return outcome

    def _begin(self, action: Action, key: str | None, timeout_s: float, request: bytes | None) -> tuple[Command, str]:
        door = self._door
        door.admit(action)
        replica = door.replica
        # Before the write: a cluster that cannot settle its fate could not answer for it.
        replica.check_level(Settle(0))
        made = key if key is not None else f"ticket-{uuid_utils.uuid7()}"
        command, now_ms = self._command(action, made, request), replica.wall_ms()
        if command.idempotency is None:
            raise RuntimeError("a command with a key has a fingerprint")
        fingerprint = command.idempotency.fingerprint
        sequence = read_header(replica.view).queue.next
        until_ms = now_ms + round(1_000 * timeout_s) + SLACK_MS
        return command, show_ticket(Ticket(_FORMAT, made, fingerprint, sequence, until_ms, _owner(door.user)))

    def _command(self, action: Action, key: str, request: bytes | None) -> Command:
        door = self._door
        command = command_for(action, door.key(key), request)
        stamp = stamped(command, time_ms=door.replica.wall_ms(), bytes_max=door.limits.document_bytes_max)
        return door.command(stamp)

    async def _carry_out(
        self,
        action: Action,
        command: Command,
        made: Callable[[], Command],
        entered: float,
        timeout_s: float,
        told: Callable[[str], None],
    ) -> None:
        writes = self._door.writes
        try:
            outcome = await self._door.replica.propose(command, timeout_s=timeout_s)
            if outcome.code is Code.ACCESS_CHANGED:
                outcome = await self._door.proposed_again(action, made, outcome, timeout_s)
        except NodeError as error:
            # No caller waits for it: who has the ticket asks, and settles what is not known.
            writes.abandon()
            told("unknown" if isinstance(error, OutcomeUnknown) else "not_applied")
            return
        except BaseException:
            writes.abandon()
            told("unknown")
            raise
        writes.leave(entered)
        told(_fate_of(outcome, 0).state.value)


def key_of(ticket: str) -> str:
    """Return the idempotency key in the text of a ticket."""
    return parse_ticket(ticket).key


def _owner(user: str) -> bytes:
    return hashlib.sha256(user.encode()).digest()[:8] if user else b""


def _fate_of(outcome: Outcome, revision: int) -> Fate:
    match outcome.code:
        case Code.OK:
            return Fate(State.APPLIED, revision, outcome)
        case Code.SETTLED:
            return Fate(State.NOT_APPLIED, revision)
        case Code.OUTCOME_UNKNOWN:
            return Fate(State.UNKNOWN, revision)
    return Fate(State.REFUSED, revision, outcome)
