"""Notifies the transport of new memberships, and logs new leaders and memberships."""

from __future__ import annotations

import structlog

from collectionstore_node.raft.messages import NO_NODE, Configuration, NodeId
from collectionstore_node.raft.node import RaftNode
from collectionstore_node.raft.ready import SoftState
from collectionstore_node.replica.node_ids import show_id
from collectionstore_node.replica.transport_port import PeerTransport
from collectionstore_node.statemachine.members import MembershipRecord
from collectionstore_node.transport.addresses import PeerAddress

log = structlog.get_logger()


class Announcements:
    """Announces changes of one member's leader and membership."""

    def __init__(self, own: NodeId, transport: PeerTransport) -> None:
        self._own = own
        self._transport = transport
        self._last_leader = NO_NODE

    def leadership_changed(self, state: SoftState, raft: RaftNode, record: MembershipRecord) -> None:
        """Log a leader that was elected or lost; a change of role alone is not logged."""
        if state.leader == self._last_leader:
            return
        self._last_leader = state.leader
        role, term = state.role.value, raft.term
        if state.leader:
            voters = [show_id(one) for one in sorted(raft.status().elected_by)]
            log.info("leader.elected", leader=show_id(state.leader), role=role, term=term, elected_by=voters)
            # Nodes that were admitted for want of a leader are none of this member's business any more.
            self.set_peers(record)
        else:
            log.info("leader.lost", role=role, term=term)

    def configuration_applied(self, record: MembershipRecord, configuration: Configuration) -> None:
        """Log a configuration and connect to its members."""
        log.info(
            "configuration.applied",
            index=record.index,
            voters=[show_id(one) for one in configuration.voters],
            outgoing=[show_id(one) for one in configuration.outgoing],
            learners=[show_id(one) for one in configuration.learners],
        )
        self.set_peers(record)

    def set_peers(self, record: MembershipRecord) -> None:
        """Connect to the members of `record`, and to no other."""
        self._transport.set_peers(
            PeerAddress(node_id=NodeId(info.node_id), name=info.name, address=info.address)
            for info in record.members
            if info.node_id != self._own
        )
