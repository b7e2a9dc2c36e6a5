"""Forwards commands to the leader: those of one turn of the loop travel in one request.

A command whose request certainly did not arrive is "not applied"; one whose reply was lost is unknown.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import msgspec

from collectionstore_node.errors import InvariantViolated, NodeError, NotLeader, OutcomeUnknown
from collectionstore_node.metrics import ForwardingSeries
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica.observation.command import EarlyWaiter, QueuedCommand
from collectionstore_node.replica.observation.command_spans import end_with
from collectionstore_node.replica.peers.calls import Propose, decode_results, encode_call, error_of
from collectionstore_node.replica.transport_port import PeerTransport
from collectionstore_node.statemachine.commands import Outcome
from collectionstore_node.transport.failures import PeerUnavailable, RequestLost

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Span


DEADLINE_SLACK_S: Final = 0.1
"""Deadlines that differ by less share one timer: those of most commands are the same but for microseconds."""


class Forwarder:
    """Groups commands by leader and loop turn. Belongs to the event loop."""

    def __init__(self, transport: PeerTransport, loop: asyncio.AbstractEventLoop, series: ForwardingSeries) -> None:
        self._transport = transport
        self._series = series
        self._loop = loop
        self._groups: dict[NodeId, list[QueuedCommand]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def propose(
        self, leader: NodeId, command: bytes, deadline: float, span: Span | None = None, *, alone: bool = False
    ) -> asyncio.Future[Outcome]:
        """Send an encoded command to `leader`; the future has the outcome, or raises what the leader raised.

        `span` ends with the future, and is the parent of what the leader does. `alone` commands share no request with
        others: those whose answers may be large, because all answers to a request come in one frame.
        """
        future: asyncio.Future[Outcome] = self._loop.create_future()
        self._series.sent.inc()
        queued = QueuedCommand(command, deadline, future, span=span)
        if span is not None:
            end_with(span, future)
        if alone:
            self._start(leader, [queued])
            return future
        group = self._groups.get(leader)
        if group is None:
            group = self._groups[leader] = []
            # At the end of this turn of the loop: commands that arrive in it share one request.
            self._loop.call_soon(self._flush, leader)
        group.append(queued)
        return future

    def propose_early(self, leader: NodeId, command: bytes, deadline: float) -> asyncio.Future[Outcome | None]:
        """Send an encoded command to `leader`; the future has the outcome, or None once it is durable there.

        Otherwise as `propose`.
        """
        told: asyncio.Future[Outcome | None] = self._loop.create_future()
        self._series.sent.inc()
        waiter = EarlyWaiter(told)
        self._start(leader, [QueuedCommand(command, deadline, waiter, early=waiter)])
        return told

    async def close(self) -> None:
        """Cancel what waits for a reply; the outcome of commands that were sent is unknown."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _flush(self, leader: NodeId) -> None:
        self._start(leader, self._groups.pop(leader))

    def _start(self, leader: NodeId, group: list[QueuedCommand]) -> None:
        task = self._loop.create_task(self._send(leader, group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(self, leader: NodeId, group: list[QueuedCommand]) -> None:
        latest = max(waiting.deadline for waiting in group)
        timeout_s = latest - self._loop.time()
        for waiting in group:
            # The request waits for the most patient of its commands; the others keep their own deadlines.
            if latest - waiting.deadline > DEADLINE_SLACK_S:
                self._loop.call_at(waiting.deadline, _expire, waiting)
        contexts = tuple((at, one.span.carried) for at, one in enumerate(group) if one.span is not None)
        early = group[0].early is not None  # an early command is alone
        payload = encode_call(Propose(tuple(msgspec.Raw(one.command) for one in group), timeout_s, contexts, early))
        error: NodeError
        try:
            results = decode_results(await self._transport.request(leader, payload, timeout_s))
            if len(results) != len(group):
                raise InvariantViolated(f"{len(results)} results for {len(group)} commands")
        except PeerUnavailable:
            # Certainly not handled by the peer, so the caller may try the next leader.
            error = NotLeader()
            self._series.not_applied.inc(len(group))
        except (RequestLost, InvariantViolated, ValueError) as reason:
            error = OutcomeUnknown(f"the leader's answer was lost: {reason}")
            self._series.unknown.inc(len(group))
        except asyncio.CancelledError:
            self._series.unknown.inc(len(group))
            _fail(group, OutcomeUnknown("the node is stopping"))
            raise
        else:
            for waiting, result in zip(group, results, strict=True):
                if waiting.future.done():
                    continue
                if (problem := error_of(result)) is not None:
                    waiting.future.set_exception(problem)
                elif result.outcome is not None:
                    waiting.future.set_result(result.outcome)
                elif waiting.early is not None and result.durable:
                    waiting.early.durable()
                else:
                    waiting.future.set_exception(OutcomeUnknown("the leader answered without an outcome"))
            return
        _fail(group, error)


def _expire(waiting: QueuedCommand) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(OutcomeUnknown("the leader did not answer within the deadline"))


def _fail(group: list[QueuedCommand], error: NodeError) -> None:
    for waiting in group:
        if not waiting.future.done():
            waiting.future.set_exception(error)
