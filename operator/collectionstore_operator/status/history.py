"""What earlier statuses say about how long a state has lasted, and when it is expected to pass by itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from collectionstore_operator.model import quorum
from collectionstore_operator.model.assessment import Assessment, responding_node

ELECTION_S: Final = 5.0
"""Time for an election, several times the longest election timeout by default, before a cluster without a trusted
leader counts as unavailable. A transfer of leadership in a rolling restart is one, and the members are asked one after
the other: one that is asked a moment later may know of a newer term or configuration than the leader did."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What the status published last says; nothing for a new cluster."""

    unhealthy_s: Mapping[int, float] = {}
    """For how long a member has been unhealthy, by ordinal; absent for what is new."""
    leaderless_s: float | None = None
    """For how long no leader has been trusted, 0 if that is new; None if the cluster was not available before."""


def electing(assessment: Assessment, history: History) -> bool:
    """Return whether an available cluster has lost its leader just now, and a quorum of voters responds to elect one.

    Without a quorum of voters that respond, nothing is expected to pass by itself.
    """
    view, observed = assessment.view, assessment.observed
    if view.trusted or not view.initialized or history.leaderless_s is None or history.leaderless_s >= ELECTION_S:
        return False
    nodes = (responding_node(slot, observed.cluster_id) for slot in observed.slots)
    return quorum.has_quorum(view.configuration, {node.node_id for node in nodes if node is not None})
