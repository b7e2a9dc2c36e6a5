"""What other members send: the replica, as the transport sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

import structlog

from collectionstore_node.errors import MessageRejected, NodeError
from collectionstore_node.metrics import ReplicaMetrics
from collectionstore_node.raft.messages import Message, NodeId
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.replica.health.self_check import SelfCheck
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.peers.attribution import attribute, vitals
from collectionstore_node.replica.snapshots.received import ReceivedSnapshots, check_snapshot, snapshot_message
from collectionstore_node.statemachine.members import MembershipRecord

log = structlog.get_logger()


class Driven(Protocol):
    """What `Inbound` needs of the driver."""

    serve: Callable[[bytes], Awaitable[bytes]]

    @property
    def raft(self) -> RaftNode:
        """The core; another one after a bootstrap."""

    @property
    def record(self) -> MembershipRecord:
        """The members by name and address, as applied."""

    def wake(self) -> None:
        """Let the driver look at the core again."""

    def fail(self, error: BaseException) -> None:
        """End the process with `error`."""


class Inbound:
    """Hands to the core what may reach it. A `transport.TransportHandler`."""

    def __init__(
        self,
        driver: Driven,
        received: ReceivedSnapshots,
        self_check: SelfCheck,
        executor: Executor,
        metrics: ReplicaMetrics,
    ) -> None:
        self._driver = driver
        self._received = received
        self._self_check = self_check
        self._executor = executor
        self._metrics = metrics

    def on_messages(self, sender: NodeId, messages: tuple[Message, ...]) -> None:
        """Step a peer's messages; impossible ones are counted and dropped."""
        self._self_check.look()
        raft = self._driver.raft
        for message in messages:
            before = vitals(raft)
            try:
                raft.step(message)
            except MessageRejected as error:
                self._metrics.rejected_messages.inc()
                log.warning("message.rejected", sender=show_id(sender), reason=str(error))
            except NodeError as error:
                self._driver.fail(error)
                return
            after = vitals(raft)
            if after != before:
                attribute(sender, message, before, after, self._metrics.term_jumps)
        self._driver.wake()

    async def on_request(self, sender: NodeId, payload: bytes) -> bytes:
        """Answer another node."""
        del sender
        return await self._driver.serve(payload)

    async def on_snapshot(self, sender: NodeId, envelope: bytes, path: Path) -> None:
        """Take a complete, verified snapshot file and let the core decide whether to install it."""
        message = snapshot_message(sender, envelope)
        # Nothing reaches the core that could not be installed, or is not what the core is told that it is.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._executor, check_snapshot, path, message.metadata)
        self._received.keep(message.metadata, path)
        self.on_messages(sender, (message,))

    def on_unreachable(self, node_id: NodeId) -> None:
        """Tell the core that messages to `node_id` were lost."""
        self._driver.raft.report_unreachable(node_id)

    def refusal(self, node_id: NodeId, name: str) -> str | None:
        """Return why a node may not talk to this one, or None."""
        del name
        return "removed" if node_id in self._driver.record.removed else None
