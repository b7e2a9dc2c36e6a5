"""Why a request or a snapshot did not get through; each class says whether the peer may have handled it."""

from __future__ import annotations

from collectionstore_node.errors import NodeError, NotNow, OutcomeUnknown


class PeerUnavailable(NotNow):
    """The request was definitely not handled by the peer: saying "not applied" is safe."""


class RequestLost(OutcomeUnknown):
    """The request left and no answer came: the peer may have handled it."""


class SnapshotFailed(NodeError):
    """The peer does not have the snapshot; the text says why. Start again when it still needs one."""
