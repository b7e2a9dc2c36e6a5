"""Serves the requests of other members: commands and administration for the leader, digests for comparison.

A request is executed here and only here: it is never forwarded again, so that two members with outdated views of the
leader cannot pass it back and forth.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final, TypeAlias

import msgspec
import structlog
from msgspec.structs import replace

from collectionstore_node.errors import InvalidRequest, NodeError, NotLeader, NotNow, TooLarge
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica.local_member import LocalMember
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.observation.command import EarlyWaiter
from collectionstore_node.replica.peers import calls
from collectionstore_node.statemachine.admissible import check_command
from collectionstore_node.statemachine.commands import Outcome, decode_command, encode_command
from collectionstore_node.statemachine.levels import HIGHEST

log = structlog.get_logger()

TIMEOUT_MAX_S: Final = 60.0
"""Longest time that a forwarded command may wait; a client's own timeout is no longer (`HttpLimits.timeout_max_s`)."""
NEEDS_OPERATOR: Final = "operator_required"

Waiting: TypeAlias = asyncio.Future[Outcome] | asyncio.Future[Outcome | None]
"""What is told the outcome of a command, or None once it is durable here."""


class RequestServer:
    """Executes the requests of peers on one member. Belongs to the event loop."""

    def __init__(self, member: LocalMember) -> None:
        self._member = member
        self._consensus = member.consensus
        self._loop = asyncio.get_running_loop()

    async def serve(self, sender: NodeId, payload: bytes) -> bytes:
        """Execute an encoded request of a member and return the encoded reply.

        Raises `NotNow`, with nothing done, for bytes that are no request of this version.
        """
        try:
            call = calls.decode_call(payload)
        except msgspec.DecodeError as error:
            self._reject(sender, f"a request that cannot be decoded: {error}")
            raise NotNow("not a request that this version knows") from None
        return await self._execute(sender, call)

    async def _execute(self, sender: NodeId, call: calls.Call) -> bytes:
        match call:
            case calls.Propose():
                return calls.encode_results(await self._propose(sender, call))
            case calls.GetDigests():
                # With the level: the leader raises the cluster's once all members have said that they support it.
                known = tuple(replace(one, supports=HIGHEST) for one in self._member.checkpoints())
                if call.report:
                    return calls.encode_report(calls.MemberReport(known, self._member.space.report))
                return calls.encode_checkpoints(known)
            case calls.VerifyState():
                self._member.suspicion.set()
                return calls.encode_results([calls.Result()])
            case calls.ChangeMembers() | calls.Transfer():
                # A member's certificate proves a member, and no operator: only who connects to the leader itself, with
                # the operator's certificate, changes the cluster. Older versions forwarded these.
                self._reject(sender, "it asks for a change of the cluster, which only an operator may")
                refused = InvalidRequest(NEEDS_OPERATOR, "ask the leader itself, with an operator's certificate")
                return calls.encode_results([calls.failure(refused)])

    async def _propose(self, sender: NodeId, call: calls.Propose) -> list[calls.Result]:
        if not self._consensus.raft.is_leader:
            return [calls.failure(NotLeader(self._consensus.raft.leader))] * len(call.commands)
        waiting = self._submit(sender, call)
        # Awaited together: when the requester disconnects, this task is cancelled with every future of it.
        await asyncio.gather(*(one for one in waiting if isinstance(one, asyncio.Future)), return_exceptions=True)
        return [await _result(one) for one in waiting]

    def _submit(self, sender: NodeId, call: calls.Propose) -> list[Waiting | NodeError]:
        # Also for a number that is none: what waits without an end is never forgotten.
        timeout_s = min(call.timeout_s, TIMEOUT_MAX_S) if math.isfinite(call.timeout_s) else 0.0
        deadline = self._loop.time() + timeout_s
        parents = dict(call.contexts)
        waiting: list[Waiting | NodeError] = []
        for at, received in enumerate(call.commands):
            try:
                waiting.append(self._submit_one(sender, bytes(received), deadline, parents.get(at), early=call.early))
            except (InvalidRequest, NotNow) as error:
                waiting.append(error)
        return waiting

    def _submit_one(
        self, sender: NodeId, encoded: bytes, deadline: float, parent: bytes | None, *, early: bool
    ) -> Waiting:
        """Check a command as a client's is checked, and queue it. Raises `InvalidRequest` or `NotNow`."""
        try:
            # Decoded here and not at `apply`, where a command that cannot be decoded would stop every replica.
            command = decode_command(encoded)
            check_command(command, self._member.settings.commands)
        except TooLarge:
            # No fault of that member: while a limit is being changed, members have different ones.
            raise
        except InvalidRequest as error:
            self._reject(sender, f"a command that no client could have sent: {error.code}")
            raise
        except msgspec.DecodeError:
            self._reject(sender, "a command that cannot be decoded")
            raise InvalidRequest("invalid_body", "the command cannot be decoded") from None
        self._member.admit(command.action)
        if early:
            told: asyncio.Future[Outcome | None] = self._loop.create_future()
            waiter = EarlyWaiter(told)
            self._consensus.enqueue(encode_command(command), deadline, waiter, early=waiter)
            return told
        span = self._member.observer.start_propose(command, parent, forwarded=True)
        return self._consensus.submit(encode_command(command), deadline, span)

    def _reject(self, sender: NodeId, reason: str) -> None:
        """Count and log what a correct member does not send. The reason quotes nothing of it."""
        self._member.metrics.rejected_messages.inc()
        log.warning("message.rejected", sender=show_id(sender), reason=reason)


async def _result(one: Waiting | NodeError) -> calls.Result:
    if isinstance(one, NodeError):
        return calls.failure(one)
    try:
        outcome = await one
        return calls.Result(outcome=outcome, durable=outcome is None)
    except NodeError as error:
        return calls.failure(error)
