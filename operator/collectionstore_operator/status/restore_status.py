"""status.restore: what an in-place restore would lose, the nonce that acknowledges it, and how far it has come. Pure.

The revision of a cluster that works changes with every write, and what is published wakes the loop: it is published
anew at most every `REFRESHED_S`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.plan import RESTORE_IN_PLACE, Plan
from collectionstore_operator.model.quorum_loss import examine
from collectionstore_operator.model.recovery import RecoveryPhase, RecoveryRecord
from collectionstore_operator.model.restore import (
    highest_revision,
    in_place,
    known_backup,
    nonce_of,
    revision_above,
    shown_restore,
)
from collectionstore_operator.model.restore_request import blocked_by, wanted
from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.resource.bootstrap import LATEST
from collectionstore_operator.resource.fields import atomic
from collectionstore_operator.resource.restore import InPlaceRestore

Word: TypeAlias = Annotated[str, Meta(max_length=253, title="a name or a word")]

VOLUMES_MAX: Final = 32
MESSAGE_LENGTH_MAX: Final = 1_024
REFRESHED_S: Final = 30.0


class RestoreStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An in-place restore: offered, under way, or finished."""

    phase: Annotated[
        Literal["", "Blocked", "Offered", "Halting", "Emptying", "Restoring", "Finished"],
        Meta(
            description="phase is Offered while spec.restore is not acknowledged, Blocked while it cannot begin; "
            "Halting, Emptying and Restoring while it is under way; Finished after it. Empty without one."
        ),
    ] = ""
    nonce: Annotated[
        str,
        Meta(
            max_length=64,
            description="nonce stands for this cluster and this backup; copied to spec.restore.nonce it acknowledges "
            "that the one replaces the other. While a restore is under way that of another attempt, which is needed "
            "only if it cannot go on.",
        ),
    ] = ""
    message: Annotated[
        str,
        Meta(max_length=MESSAGE_LENGTH_MAX, description="message says what would be lost, or how far it has come."),
    ] = ""
    waiting_for: Annotated[
        str, Meta(max_length=MESSAGE_LENGTH_MAX, description="waitingFor says what the next step waits for.")
    ] = ""
    backup: Annotated[str, Meta(max_length=512, description="backup says what is restored.")] = ""
    backup_revision: Annotated[
        int, Meta(ge=0, description="backupRevision is the revision of the backup; 0 if no resource tells of it.")
    ] = 0
    backup_completed: Annotated[
        str, Meta(max_length=32, description="backupCompleted is when it was made; empty if no resource tells of it.")
    ] = ""
    revision: Annotated[
        int,
        Meta(ge=0, description="revision is the highest that the cluster is known to have had; 0 if it is not known."),
    ] = 0
    as_of: Annotated[
        str, Meta(max_length=32, description="asOf is when a member told it last; empty if none answers.")
    ] = ""
    from_cluster_id: Annotated[
        str, Meta(max_length=64, description="fromClusterID is the ID of the cluster that was replaced.")
    ] = msgspec.field(name="fromClusterID", default="")
    cluster_id: Annotated[
        str, Meta(max_length=64, description="clusterID is the ID of the cluster that is made of the backup.")
    ] = msgspec.field(name="clusterID", default="")
    old_volumes: Annotated[
        tuple[Word, ...],
        Meta(
            max_length=VOLUMES_MAX,
            description="oldVolumes are the PersistentVolumes that were set aside and not deleted, with what the "
            "cluster had before.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    finished: Annotated[str, Meta(max_length=32, description="finished is when the restored member led.")] = ""


def restore_status(assessment: Assessment, plan: Plan, before: RestoreStatus) -> RestoreStatus:
    """Return status.restore; `before` is the one published last."""
    record, asked = assessment.observed.recovery, wanted(assessment)
    waiting = next((step.blocked_by for step in plan.steps if step.name == RESTORE_IN_PLACE and step.blocked_by), "")
    if (under_way := in_place(assessment.observed)) is not None:
        reason = next((step.reason for step in plan.steps if step.name == RESTORE_IN_PLACE), "")
        return _shown(assessment, under_way, reason, waiting)
    if asked is not None:
        return _offered(assessment, asked, before)
    if record is None or record.restore is None:
        return RestoreStatus()
    left = f"; {len(record.old_volumes)} volumes are kept" if record.old_volumes else ""
    return _shown(assessment, record, f"{shown_restore(record.restore)} replaced what the cluster had{left}", "")


def _offered(assessment: Assessment, asked: InPlaceRestore, before: RestoreStatus) -> RestoreStatus:
    observed, blocker = assessment.observed, blocked_by(assessment)
    known, highest = known_backup(observed, asked), highest_revision(observed)
    answers = [node.revision for node in observed.all_nodes() if node.cluster_id == observed.cluster_id]
    as_of = rfc3339(observed.now) if answers else ""
    # What members tell is exact; what is recorded of a cluster that was restored is above it.
    highest = max(answers, default=highest)
    if answers and before.as_of and before.revision and observed.now - seconds(before.as_of) < REFRESHED_S:
        highest, as_of = before.revision, before.as_of
    nonce = "" if blocker else nonce_of(observed.cluster_id, asked)
    stale = (
        f"; spec.restore.nonce is {asked.nonce}, of another restore, and is ignored"
        if asked.nonce is not None and asked.nonce != nonce and not blocker
        else ""
    )
    return RestoreStatus(
        phase="Blocked" if blocker else "Offered",
        nonce=nonce,
        message=_shortened(_loss(assessment, asked, highest, as_of) + stale),
        waiting_for=_shortened(blocker),
        backup=shown_restore(asked)[:512],
        backup_revision=known.revision if known else 0,
        backup_completed=known.completed[:32] if known else "",
        revision=highest,
        as_of=as_of,
    )


def _loss(assessment: Assessment, asked: InPlaceRestore, highest: int, as_of: str) -> str:
    """Return what would be lost, as far as it is known."""
    observed = assessment.observed
    known = known_backup(observed, asked)
    loss = examine(assessment)
    has = f"the cluster is at revision {highest}, as of {as_of}" if as_of else _unanswered(highest)
    if known is None:
        made = (
            "no CollectionStoreBackup of the namespace tells of it: see with csctl backup verify that it is there, "
            "before the cluster stops for it"
        )
    elif asked.to is not None:
        made = f"it begins with {known.id} of revision {known.revision}, and goes on to {asked.to} by the archive"
    else:
        made = f"{known.id} has revision {known.revision}, made at {known.completed}"
        if as_of:
            made += f": {max(0, highest - known.revision)} revisions would be lost"
        if asked.backup == LATEST:
            made += "; a newer one is taken if there is one by then"
    above = revision_above(observed, highest_revision(observed), asked)
    gone = f"; {loss.message}" if loss is not None else ""
    kept = "its volumes are deleted once it works" if asked.deletes else "its volumes are kept"
    return (
        f"{shown_restore(asked)} would replace all that the cluster has; {has}; {made}{gone}; {kept}; revisions would "
        f"go on {above} above the backup's"
    )


def _unanswered(highest: int) -> str:
    known = f"it has had revision {highest} at least" if highest else "its last revision is not known"
    return f"no member answers: {known}"


def _shown(assessment: Assessment, record: RecoveryRecord, message: str, waiting: str) -> RestoreStatus:
    restore, asked = record.restore, assessment.desired.spec.restore
    known = known_backup(assessment.observed, restore) if restore is not None else None
    again = record.phase is RecoveryPhase.RESTORING and asked is not None and not blocked_by(assessment)
    fields = {
        "phase": record.phase.value,
        "nonce": nonce_of(assessment.observed.cluster_id, asked) if again and asked is not None else record.nonce,
        "message": _shortened(message),
        "waitingFor": _shortened(waiting),
        "backup": shown_restore(restore)[:512] if restore is not None else "",
        "backupRevision": known.revision if known else 0,
        "backupCompleted": known.completed[:32] if known else "",
        "revision": record.highest_revision,
        "fromClusterID": record.from_cluster,
        "clusterID": record.cluster_id,
        "oldVolumes": [one.name for one in (*record.overdue, *record.old_volumes)][:VOLUMES_MAX],
        "finished": rfc3339(record.finished) if record.finished else "",
    }
    return msgspec.convert(fields, RestoreStatus)


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 3] + "..."
