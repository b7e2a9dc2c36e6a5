"""What must be written down of an observation, because a later one may not show it any more. Pure.

These steps change neither the cluster nor its pods, so they are taken also while the resource is paused: a fact that
was not recorded in time is lost, and with it the proof that a disk holds data.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.actions import RecordInitialized, RecordRevision, RestoreIdentity, StampVolume
from collectionstore_operator.model.assessment import Assessment, responding_node
from collectionstore_operator.model.observed import Volume
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.model.restore import REVISIONS, highest_revision


def record(assessment: Assessment) -> Iterator[Proposal]:
    """Yield what is seen and not recorded yet: that the cluster has data, and whose data each volume holds."""
    desired, observed = assessment.desired, assessment.observed
    if not observed.cluster_id:
        return  # nothing that is seen can be of this cluster before it has its ID
    if observed.identity_conflict:
        reason = "the record must name the cluster of the members and the volumes"
        blocker = observed.identity_conflict
        yield postpone(RestoreIdentity.__name__, reason=reason, blocked_by=blocker, subject=desired.name)
        return
    if observed.recorded_cluster_id:
        yield _restore_identity(assessment)
    if observed.initialized and not observed.initialized_recorded:
        reason = "a member has data: the cluster must never be bootstrapped again"
        yield propose(RecordInitialized(reason=reason), subject=desired.name)
    highest = highest_revision(observed)
    if observed.stamps_volumes and highest >= observed.recorded_revision + REVISIONS:
        reason = f"a restore goes on above revision {highest}, also when no member can say it any more"
        yield propose(RecordRevision(revision=highest, reason=reason), subject=desired.name)
    if observed.stamps_volumes:
        yield from stamp(assessment)


def _restore_identity(assessment: Assessment) -> Proposal:
    observed = assessment.observed
    reason = (
        f"the record names {observed.recorded_cluster_id}; the members and the volumes are of {observed.cluster_id}"
    )
    action = RestoreIdentity(cluster_id=observed.cluster_id, recorded=observed.recorded_cluster_id, reason=reason)
    return propose(action, subject=assessment.desired.name)


def stamp(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the volumes that do not say yet, or say wrongly, which node runs on them."""
    for slot in assessment.observed.slots:
        # Only what a node of this cluster reports: a volume is evidence against a bootstrap, or for a removal.
        node, volume = responding_node(slot, assessment.observed.cluster_id), slot.volume
        if node is None or not isinstance(volume, Volume) or volume.node_id == node.node_id:
            continue
        reason = f"the node {node.node_id} of {assessment.name(slot.ordinal)} runs on it"
        action = StampVolume(
            ordinal=slot.ordinal, name=volume.name, node_id=node.node_id, uid=volume.uid, reason=reason
        )
        yield propose(action, subject=volume.name)
