"""Handles what other members send: the `TransportHandler` of a replica."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from collectionstore_node.errors import MessageRejected, NodeError, NotNow
from collectionstore_node.raft.messages import InstallSnapshot, Message, NodeId
from collectionstore_node.replica.local_member import LocalMember
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.peers import admission
from collectionstore_node.replica.peers.attribution import attribute, vitals
from collectionstore_node.replica.peers.request_server import RequestServer
from collectionstore_node.replica.snapshots.received import check_snapshot, snapshot_message

log = structlog.get_logger()


class PeerHandler:
    """Steps messages into the core of one member, stores snapshots and serves requests."""

    def __init__(self, member: LocalMember) -> None:
        self._member = member
        self._requests = RequestServer(member)

    def on_messages(self, sender: NodeId, messages: tuple[Message, ...]) -> None:
        """Step the messages of a peer; invalid ones are counted and dropped."""
        if any(type(one) is InstallSnapshot for one in messages):
            # It comes with its file, by `on_snapshot`: the core would accept it, and there would be nothing to install.
            self._reject(sender, "a snapshot without its file")
            messages = tuple(one for one in messages if type(one) is not InstallSnapshot)
        self._step(sender, messages)

    def _step(self, sender: NodeId, messages: tuple[Message, ...]) -> None:
        member = self._member
        if not admission.is_member(sender, member.record):
            messages = self._of_stranger(sender, messages)
        # BEFORE any message: those that arrived while the process was paused must find no leader here.
        member.self_check.check_pause()
        raft = member.consensus.raft
        for message in messages:
            before = vitals(raft)
            try:
                raft.step(message)
            except MessageRejected as error:
                member.metrics.rejected_messages.inc()
                log.warning("message.rejected", sender=show_id(sender), reason=str(error))
            except NodeError as error:
                member.wakeup.fail(error)
                return
            after = vitals(raft)
            if after != before:
                attribute(sender, message, before, after, member.metrics.term_jumps)
        try:
            # Many messages leave nothing to do: the last reply to an entry that a majority has, for one.
            if raft.has_ready():
                member.wakeup.wake()
        except NodeError as error:
            # What is to be sent next could not be read.
            member.wakeup.fail(error)

    async def on_request(self, sender: NodeId, payload: bytes) -> bytes:
        """Return the reply to a request of another member. Raises `NotNow` for a node that is none, as known here."""
        if not admission.is_member(sender, self._member.record):
            # Nothing was done: a member that this one will learn of only now asks again, or asks another one.
            raise NotNow("this member does not know the one that asks")
        return await self._requests.serve(sender, payload)

    async def on_snapshot(self, sender: NodeId, envelope: bytes, path: Path) -> None:
        """Take a complete, verified snapshot file and let the core decide whether to install it.

        Raises `MessageRejected` when file and envelope disagree.
        """
        message = snapshot_message(sender, envelope)
        # BEFORE the core steps the message: once it has accepted a snapshot there is no way back, so the file must be
        # installable and be what the envelope says.
        member = self._member
        await asyncio.get_running_loop().run_in_executor(
            member.file_executor, check_snapshot, path, message.metadata, member.storage.open_file
        )
        member.received.keep(message.metadata, path)
        self._step(sender, (message,))

    def on_unreachable(self, node_id: NodeId) -> None:
        """Make the core probe `node_id`: messages to it were lost."""
        self._member.consensus.raft.report_unreachable(node_id)

    def refusal(self, node_id: NodeId, name: str) -> str | None:
        """Return why a node must not connect to this one, or None."""
        member = self._member
        return admission.refusal(
            node_id,
            name,
            member.record,
            member.consensus.raft,
            leaderless_ticks=member.consensus.leaderless_ticks,
            wait_ticks=member.settings.strangers_wait_ticks,
        )

    def _of_stranger(self, sender: NodeId, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Return those messages of a node outside the configuration that have an effect here."""
        # Again, although its connection was admitted: the membership and the leader may have changed since.
        if self.refusal(sender, "") is not None:
            return ()
        # The others are dropped without a warning: this member may just be the one that is behind.
        return tuple(one for one in messages if admission.stranger_may_send(one))

    def _reject(self, sender: NodeId, reason: str) -> None:
        self._member.metrics.rejected_messages.inc()
        log.warning("message.rejected", sender=show_id(sender), reason=reason)
