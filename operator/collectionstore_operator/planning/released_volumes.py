"""The clean-up of released volumes by spec.storage.releasedVolumes. Pure.

One that is not due, or whose deletion is not proved to be safe, is no blocked step: nothing is wrong with the cluster,
and the status says why it is kept.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.actions import DeleteReleased, MarkVolume
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Volume
from collectionstore_operator.model.plan import Proposal, propose
from collectionstore_operator.model.released import kept_because, released
from collectionstore_operator.planning.retention import retains


def clean_up(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to delete what is due, one at a time, and to record since when volumes are released that do not say."""
    policy = assessment.desired.spec.storage.released_volumes
    # Without retention they are deleted at once (`volumes.discard_removed`).
    if policy is None or policy.policy != "Delete" or not retains(assessment):
        return
    for slot, volume in released(assessment):
        name = assessment.name(slot.ordinal)
        if not volume.released_at:
            reason = f"{name} was removed from the cluster by a version that did not record when"
            mark = MarkVolume(ordinal=slot.ordinal, name=volume.name, node_id=_writer(volume), reason=reason)
            yield propose(mark, subject=name)
        elif not kept_because(assessment, slot, volume):
            reason = "spec.storage.releasedVolumes deletes it, and its member has left the cluster"
            action = DeleteReleased(
                ordinal=slot.ordinal, name=volume.name, uid=volume.uid, node_id=_writer(volume), reason=reason
            )
            yield propose(action, subject=name)


def _writer(volume: Volume) -> str:
    return volume.node_id if isinstance(volume.node_id, str) else ""
