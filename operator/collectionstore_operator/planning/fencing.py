"""A higher fencing epoch, when a node has seen a higher one than ours. Pure.

A node refuses what an operator with a lower epoch asks for. Only the holder of the cluster's Lease may act, so a higher
epoch on a node is from an earlier holder, or from an operator that knows no such Lease: the holder takes the next one,
and the other is refused from then on. The action is refused unless the Lease is still held.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collectionstore_operator.model.actions import RaiseEpoch
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.plan import Proposal, postpone, propose

EPOCH_MAX: Final = 2**53 - 1
"""The highest epoch that a node accepts; nobody can be fenced above it."""


def raise_epoch(assessment: Assessment) -> Iterator[Proposal]:
    """Propose the next epoch above the highest that a node of this cluster has seen. By one: nodes bound its steps."""
    observed = assessment.observed
    nodes = [node for node in observed.all_nodes() if node.cluster_id == observed.cluster_id]
    highest = max(nodes, key=lambda node: node.epoch, default=None)
    if highest is None or highest.epoch <= observed.epoch:
        return
    reason = f"{highest.name} has seen epoch {highest.epoch}, ours is {observed.epoch}, and we hold the cluster's Lease"
    if highest.epoch >= EPOCH_MAX:
        blocker = "there is no higher epoch"
        yield postpone(RaiseEpoch.__name__, reason=reason, blocked_by=blocker, subject=assessment.desired.name)
        return
    yield propose(RaiseEpoch(epoch=highest.epoch + 1, reason=reason), subject=assessment.desired.name)
