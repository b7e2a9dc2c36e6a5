"""Operations on the cluster itself, and its status.

The requests and the status structs are the replica's own: a follower sends the requests to the leader in this form, and
`/status` is the JSON of `NodeStatus`. They are re-exported so that a front end needs no module of the replica.
"""

from __future__ import annotations

import msgspec

from collectionstore_node.raft.messages import Index, NodeId
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.replica.reporting.inspection import RaftReport
from collectionstore_node.replica.reporting.status import (
    ConfigurationStatus,
    LeaderStatus,
    MemberStatus,
    NodeStatus,
    WatchStatus,
)


class ReadCluster(msgspec.Struct, frozen=True):
    """Read the cluster's status as this node sees it."""


class Bootstrap(msgspec.Struct, frozen=True):
    """Make an empty node the only voter of a new cluster of this epoch; once per cluster."""

    epoch: int | None = None


class TransferLeadership(msgspec.Struct, frozen=True):
    """Transfer leadership to `to`, or, for None, to the reachable voter with the longest log.

    `epoch` is the caller's fencing token.
    """

    to: NodeId | None = None
    epoch: int | None = None


__all__ = [
    "Bootstrap",
    "ConfigurationStatus",
    "Index",
    "LeaderStatus",
    "MemberChange",
    "MemberStatus",
    "MembersRequest",
    "NodeId",
    "NodeStatus",
    "RaftReport",
    "ReadCluster",
    "TransferLeadership",
    "WatchStatus",
]
