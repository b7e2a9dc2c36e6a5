"""Log lines about the connection to one member: each problem once, until a connection has lasted."""

from __future__ import annotations

import structlog

from collectionstore_node.transport.addresses import PeerAddress
from collectionstore_node.transport.log_once import LogOnce

log = structlog.get_logger()


class PeerLog:
    """Deduplicates the lines of one peer; a member that stays unreachable is one line, not one per dial."""

    def __init__(self) -> None:
        self._logged = LogOnce()

    def reset(self) -> None:
        """Log everything again: a connection has lasted."""
        self._logged = LogOnce()

    def connected(self, peer: PeerAddress) -> None:
        """A connection is up where there was none."""
        if self._logged.first("peer.connected", "dialed"):
            log.info("peer.connected", peer=peer.name, node_id=_id(peer), address=peer.address)

    def not_renewed(self, peer: PeerAddress, reason: str) -> None:
        """A renewal failed; the connection before is still up."""
        if self._logged.first("peer.not_renewed", reason):
            log.warning("peer.not_renewed", peer=peer.name, node_id=_id(peer), address=peer.address, reason=reason)

    def dial_failed(self, peer: PeerAddress, reason: str, *, refused: bool) -> None:
        """There is no connection: the member refused it, or could not be reached."""
        if refused:
            if self._logged.first("peer.refused", reason):
                log.warning("peer.refused", peer=peer.name, node_id=_id(peer), address=peer.address, reason=reason)
        elif self._logged.first("peer.unreachable", reason):
            log.warning("peer.unreachable", peer=peer.name, node_id=_id(peer), address=peer.address, reason=reason)

    def disconnected(self, peer: PeerAddress, reason: str, *, graceful: bool) -> None:
        """The connection closed."""
        if not self._logged.first("peer.disconnected", reason):
            return
        if graceful:
            log.info("peer.disconnected", peer=peer.name, node_id=_id(peer), address=peer.address, reason=reason)
        else:
            log.warning("peer.disconnected", peer=peer.name, node_id=_id(peer), address=peer.address, reason=reason)

    def dialing_failed(self, peer: PeerAddress) -> None:
        """Dialing raised something unexpected, which is being handled: a bug."""
        log.exception("peer.failed", peer=peer.name, node_id=_id(peer))


def _id(peer: PeerAddress) -> str:
    return f"{peer.node_id:016x}"
