"""What a spec asks to be restored in place, and what keeps a restore from beginning or going on. Pure."""

from __future__ import annotations

from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.fences import is_fenced
from collectionstore_operator.model.observed import Absent, Unknown, Volume
from collectionstore_operator.model.recovery import RecoveryPhase, active
from collectionstore_operator.model.restore import claim_of, highest_revision, nonce_of, of_repository, revision_above
from collectionstore_operator.resource.bootstrap import BUMP_MAX
from collectionstore_operator.resource.restore import InPlaceRestore


def wanted(assessment: Assessment) -> InPlaceRestore | None:
    """Return what the spec asks for and was neither begun nor done; None if that is nothing."""
    asked, before = assessment.desired.spec.restore, assessment.observed.recovery
    if asked is None or not assessment.observed.cluster_id:
        return None
    done = before is not None and before.restore is not None and asked.nonce == before.nonce
    return None if done else asked


def acknowledged(assessment: Assessment) -> InPlaceRestore | None:
    """Return what the spec asks for with the nonce of the status; None if that is nothing."""
    asked = wanted(assessment)
    matches = asked is not None and asked.nonce == nonce_of(assessment.observed.cluster_id, asked)
    return asked if matches else None


def blocked_by(assessment: Assessment) -> str:
    """Return why no restore begins, apart from its acknowledgement; empty if it may."""
    observed, spec, asked = assessment.observed, assessment.desired.spec, assessment.desired.spec.restore
    record = active(observed.recovery)
    if record is not None and not (record.restore is not None and record.phase is RecoveryPhase.RESTORING):
        return f"a recovery is under way ({record.phase.value})"
    if not assessment.view.initialized:
        return "the cluster has no data yet: spec.bootstrap.restore is for a new one"
    if observed.published.cluster_id not in ("", observed.cluster_id):
        return "the ID of the cluster is not in its status yet"
    if assessment.desired.deleting:
        return "the resource is being deleted"
    if spec.asleep:
        return "spec.hibernate is true: wake it first"
    if is_fenced(assessment.desired, assessment.name(0)):
        return f"{assessment.name(0)} is fenced"
    if asked is None:
        return ""
    clusters = {one.cluster_id for one in of_repository(observed, asked)}
    if len(clusters) > 1 and asked.source_cluster is None:
        names = ", ".join(sorted(clusters))
        return f"the repository has backups of several clusters: spec.restore.sourceCluster must be one of {names}"
    raised = revision_above(observed, highest_revision(observed), asked)
    if raised > BUMP_MAX:
        return f"revisions would go on above {raised}; a restore can raise them by {BUMP_MAX} at most"
    return ""


def lost_claim(assessment: Assessment) -> str:
    """Return why a restore cannot go on: the claim that it happened on is another one; empty if it is not."""
    recorded, volume = claim_of(assessment.observed), assessment.observed.slot(0).volume
    if not recorded or isinstance(volume, Unknown):
        return ""
    if isinstance(volume, Volume) and volume.uid == recorded:
        return "the volume that was restored is lost" if volume.lost else ""
    if isinstance(volume, Absent) and isinstance(assessment.observed.workload, Absent):
        return ""  # it is made anew, and finds its claim again if that is there
    return (
        f"the claim {recorded} on which {assessment.name(0)} was restored is gone. It is not restored again on another "
        "one: the same revisions would be given twice"
    )
