"""The members of a cluster as csctl shows them: one row each, from the status and its observation."""

from __future__ import annotations

import msgspec

from collectionstore_operator.model.observed import Member, NodeStatus, Observed, Peer, Pod, Slot
from collectionstore_operator.status.published import MemberStatus, Status


class MemberRow(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One member. Numbers are None if unknown; times in milliseconds, `disk_bytes` of its data directory."""

    name: str
    role: str
    ready: bool
    address: str
    term: int | None
    commit_index: int | None
    applied_index: int | None
    lag: int | None
    staleness_ms: int | None
    version: str
    disk_bytes: int | None
    node_id: str
    peer_address: str
    pid: int | None
    restarts: int
    round_trip_p50_ms: float | None
    handshake_ms: float | None
    message: str


def member_rows(status: Status, observed: Observed) -> tuple[MemberRow, ...]:
    """Return a row for each member of the status, in order of ordinal."""
    leader = max(
        (node for node in observed.all_nodes() if node.role == "Leader"), key=lambda node: node.term, default=None
    )
    return tuple(_row(member, _slot(member, observed), leader) for member in status.members)


def _slot(member: MemberStatus, observed: Observed) -> Slot:
    return (observed.of_reads() if member.group == "reads" else observed).slot(member.ordinal)


def _row(member: MemberStatus, slot: Slot, leader: NodeStatus | None) -> MemberRow:
    node = slot.node if isinstance(slot.node, NodeStatus) else None
    pod = slot.pod if isinstance(slot.pod, Pod) else None
    peer = _peer(leader, member.node_id)
    return MemberRow(
        name=member.name,
        role=member.role,
        ready=member.ready,
        address=member.address,
        term=node.term if node else None,
        commit_index=node.commit_index if node else None,
        applied_index=node.applied_index if node else None,
        lag=_lag(member.node_id, leader),
        staleness_ms=node.staleness_ms if node else None,
        version=member.version,
        disk_bytes=node.data_bytes if node else None,
        node_id=member.node_id,
        peer_address=pod.peer_address if pod else "",
        pid=node.pid if node and node.pid else None,
        restarts=member.restarts,
        round_trip_p50_ms=peer.round_trip_p50_ms if peer else None,
        handshake_ms=peer.handshake_ms if peer else None,
        message=member.message,
    )


def _lag(node_id: str, leader: NodeStatus | None) -> int | None:
    """Return by how many log entries a member lags, according to the leader."""
    if leader is None:
        return None
    if leader.node_id == node_id:
        return 0
    return next((one.lag for one in leader.members if _is(one, node_id)), None)


def _peer(leader: NodeStatus | None, node_id: str) -> Peer | None:
    return next((peer for peer in leader.peers if peer.node_id == node_id), None) if leader else None


def _is(member: Member, node_id: str) -> bool:
    return member.node_id == node_id
