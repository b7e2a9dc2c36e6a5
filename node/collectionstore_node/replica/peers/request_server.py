"""Serves the requests of other members: commands and administration for the leader, digests for comparison.

A request is executed here and only here: it is never forwarded again, so that two members with outdated views of the
leader cannot pass it back and forth.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from collectionstore_node.errors import NodeError, NotLeader, NotNow
from collectionstore_node.replica.local_member import LocalMember
from collectionstore_node.replica.peers import calls
from collectionstore_node.statemachine.commands import Outcome, decode_command, encode_command


class RequestServer:
    """Executes the requests of peers on one member. Belongs to the event loop."""

    def __init__(self, member: LocalMember) -> None:
        self._member = member
        self._consensus = member.consensus
        self._administration = member.administration
        self._loop = asyncio.get_running_loop()

    async def serve(self, payload: bytes) -> bytes:
        """Execute an encoded request and return the encoded reply. Raises `msgspec.DecodeError` for anything else."""
        match calls.decode_call(payload):
            case calls.Propose() as call:
                return calls.encode_results(await self._propose(call))
            case calls.GetDigests():
                return calls.encode_checkpoints(self._member.checkpoints())
            case calls.VerifyState():
                self._member.suspicion.set()
                return calls.encode_results([calls.Result()])
            case calls.ChangeMembers(request=request, timeout_s=timeout_s):
                return await _finish(self._administration.change_members(request, self._loop.time() + timeout_s))
            case calls.Transfer(to=to, timeout_s=timeout_s, epoch=epoch):
                deadline = self._loop.time() + timeout_s
                return await _finish(self._administration.transfer_leadership(to, deadline, epoch))

    async def _propose(self, call: calls.Propose) -> list[calls.Result]:
        if not self._consensus.raft.is_leader:
            return [calls.failure(NotLeader(self._consensus.raft.leader))] * len(call.commands)
        waiting = self._submit(call)
        # Awaited together: when the requester disconnects, this task is cancelled with every future of it.
        await asyncio.gather(*(one for one in waiting if isinstance(one, asyncio.Future)), return_exceptions=True)
        return [await _result(one) for one in waiting]

    def _submit(self, call: calls.Propose) -> list[asyncio.Future[Outcome] | NodeError]:
        deadline = self._loop.time() + call.timeout_s
        parents = dict(call.contexts)
        waiting: list[asyncio.Future[Outcome] | NodeError] = []
        for at, received in enumerate(call.commands):
            # Decoded here and not at `apply`, where a command that cannot be decoded would stop every replica.
            command = decode_command(bytes(received))
            span = self._member.observer.start_propose(command, parents.get(at), forwarded=True)
            try:
                waiting.append(self._consensus.submit(encode_command(command), deadline, span))
            except NotNow as error:
                waiting.append(error)
        return waiting


async def _result(one: asyncio.Future[Outcome] | NodeError) -> calls.Result:
    if isinstance(one, NodeError):
        return calls.failure(one)
    try:
        return calls.Result(outcome=await one)
    except NodeError as error:
        return calls.failure(error)


async def _finish(work: Awaitable[None]) -> bytes:
    try:
        await work
    except NodeError as error:
        return calls.encode_results([calls.failure(error)])
    return calls.encode_results([calls.Result()])
