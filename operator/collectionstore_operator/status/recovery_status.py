"""status.recovery: what is lost, what survives, the nonce that acknowledges it, and how far a recovery has come. Pure.

It does not change while nothing happens: a cluster without a leader has no writes, and terms are not shown.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.plan import RECOVER_QUORUM, Plan
from collectionstore_operator.model.quorum_loss import Cause, Disk, Fate, QuorumLoss, examine, offered_at
from collectionstore_operator.model.recovery import RecoveryRecord, active
from collectionstore_operator.model.restore import in_place
from collectionstore_operator.model.timestamps import rfc3339, seconds
from collectionstore_operator.resource.fields import atomic

Word: TypeAlias = Annotated[str, Meta(max_length=253, title="a name or a word")]

CANDIDATES_MAX: Final = 16
MESSAGE_LENGTH_MAX: Final = 1_024


class _Part(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A part of the status, camelCase in JSON."""


class SurvivorStatus(_Part, frozen=True):
    """A member whose disk survives, or may."""

    name: Annotated[str, Meta(max_length=253, description="name is the name of the member.")]
    known: Annotated[
        bool, Meta(description="known is true if the member responds, so that its position in the log is known.")
    ] = False
    last_log_term: Annotated[int, Meta(ge=0, description="lastLogTerm is the term of its last log entry.")] = 0
    last_index: Annotated[int, Meta(ge=0, description="lastIndex is the index of its last log entry.")] = 0
    commit_index: Annotated[
        int,
        Meta(
            ge=0,
            description="commitIndex is the index up to which it knows entries to be committed. Those behind it are "
            "kept, too: a client may have been told that they are.",
        ),
    ] = 0
    revision: Annotated[int, Meta(ge=0, description="revision is the revision of its state.")] = 0
    message: Annotated[
        str, Meta(max_length=MESSAGE_LENGTH_MAX, description="message says why it does not respond; empty if it does.")
    ] = ""


class RecoveryStatus(_Part, frozen=True):
    """The loss of a quorum, and its recovery."""

    phase: Annotated[
        Literal["", "Waiting", "Offered", "Stopping", "SettingAside", "Forming", "Finished"],
        Meta(
            description="phase is Waiting while the disks of a majority are gone and may still be found, Offered once "
            "spec.recovery may acknowledge it; Stopping, SettingAside and Forming while a recovery is under way; "
            "Finished after it. Empty if nothing was lost."
        ),
    ] = ""
    since: Annotated[
        str, Meta(max_length=32, description="since is the time since when the disks of a majority are gone.")
    ] = ""
    nonce: Annotated[
        str,
        Meta(
            max_length=64,
            description="nonce identifies this very loss; copied to spec.recovery.nonce it acknowledges it. Empty "
            "until a recovery is offered.",
        ),
    ] = ""
    message: Annotated[
        str,
        Meta(max_length=MESSAGE_LENGTH_MAX, description="message says what is lost, or how far the recovery has come."),
    ] = ""
    waiting_for: Annotated[
        str, Meta(max_length=MESSAGE_LENGTH_MAX, description="waitingFor says what the next step waits for.")
    ] = ""
    lost: Annotated[
        tuple[Word, ...],
        Meta(
            max_length=CANDIDATES_MAX,
            description="lost are the voters whose disks are gone.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    survivors: Annotated[
        tuple[SurvivorStatus, ...],
        Meta(
            max_length=CANDIDATES_MAX,
            description="survivors are the members whose disks survive, the most up-to-date log first.",
            extra_json_schema=atomic(),
        ),
    ] = ()
    survivor: Annotated[
        str, Meta(max_length=253, description="survivor is the member that was chosen; it is never chosen again.")
    ] = ""
    from_cluster_id: Annotated[
        str, Meta(max_length=64, description="fromClusterID is the ID of the cluster that has lost its quorum.")
    ] = msgspec.field(name="fromClusterID", default="")
    cluster_id: Annotated[
        str, Meta(max_length=64, description="clusterID is the ID of the cluster that the survivor forms.")
    ] = msgspec.field(name="clusterID", default="")
    revision: Annotated[
        int, Meta(ge=0, description="revision is that of the survivor when it was chosen; 0 if it was not known.")
    ] = 0
    highest_revision: Annotated[
        int,
        Meta(
            ge=0,
            description="highestRevision is the highest revision that any surviving member had; what only lost members "
            "had is not known.",
        ),
    ] = 0
    finished: Annotated[str, Meta(max_length=32, description="finished is when the recovered cluster had formed.")] = ""


def lost_since(published: RecoveryStatus) -> float:
    """Return since when a status says that the disks of a majority are gone, in Unix seconds; 0 if it does not."""
    return seconds(published.since) if published.since and published.phase in ("Waiting", "Offered") else 0.0


def recovery_status(assessment: Assessment, plan: Plan, before: RecoveryStatus) -> RecoveryStatus:
    """Return status.recovery; `before` is the one published last."""
    observed = assessment.observed
    waiting = next((step.blocked_by for step in plan.steps if step.name == RECOVER_QUORUM), "")
    if in_place(observed) is not None:
        return RecoveryStatus()  # the loss is over with the disks that are set aside: see status.restore
    record = active(observed.recovery)
    if record is not None:
        reason = next((step.reason for step in plan.steps if step.name == RECOVER_QUORUM), "")
        return _shown(record, record.phase.value, reason, waiting)
    loss = examine(assessment)
    if loss is not None and loss.cause is Cause.DISKS:
        return _lost(assessment, loss, waiting, before)
    if observed.recovery is None or observed.recovery.restore is not None:
        return RecoveryStatus()
    return _shown(observed.recovery, "Finished", _finished(observed.recovery) + _stale(assessment), "")


def _lost(assessment: Assessment, loss: QuorumLoss, waiting: str, before: RecoveryStatus) -> RecoveryStatus:
    due = offered_at(assessment)
    offered = bool(due) and assessment.observed.now >= due
    lasting = before.since if before.phase in ("Waiting", "Offered") else ""
    since = lasting or rfc3339(assessment.observed.now)
    kept = "what only the lost members had is lost; all that the survivor has is kept"
    if not loss.ranked() and assessment.observed.objects is None:
        kept = "no disk survives: a backup is all that is left. csctl restore makes another cluster of it"
    elif not loss.ranked():
        kept = "no disk survives: a backup is all that is left. Name one in spec.restore, see status.restore" + _newest(
            assessment
        )
    return RecoveryStatus(
        phase="Offered" if offered else "Waiting",
        since=since,
        nonce=loss.nonce if offered else "",
        message=_shortened(f"{loss.message}; {kept}" + _stale(assessment)),
        waiting_for=_shortened(waiting),
        lost=tuple(one.name for one in loss.of(Fate.GONE))[:CANDIDATES_MAX],
        survivors=tuple(_survivor(one) for one in loss.ranked())[:CANDIDATES_MAX],
        highest_revision=max((one.revision for one in loss.disks), default=0),
    )


def _newest(assessment: Assessment) -> str:
    """Return which backup the newest is that is known of the cluster; empty if none is."""
    mine = [one for one in assessment.observed.backups or () if one.cluster_id == assessment.observed.cluster_id]
    newest = max(mine, key=lambda one: one.completed, default=None)
    if newest is None:
        return ""
    return f"; the newest that is known is {newest.id} of {newest.url}, revision {newest.revision}, {newest.completed}"


def _survivor(disk: Disk) -> SurvivorStatus:
    return SurvivorStatus(
        name=disk.name,
        known=disk.known,
        last_log_term=disk.last_log_term,
        last_index=disk.last_index,
        commit_index=disk.commit_index,
        revision=disk.revision,
        message=_shortened(disk.cause),
    )


def _shown(
    record: RecoveryRecord,
    phase: Literal["Stopping", "SettingAside", "Forming", "Finished"] | str,
    message: str,
    waiting: str,
) -> RecoveryStatus:
    return msgspec.convert(
        {
            "phase": phase,
            "nonce": record.nonce,
            "message": _shortened(message),
            "waitingFor": _shortened(waiting),
            "lost": record.lost[:CANDIDATES_MAX],
            "survivor": record.survivor,
            "fromClusterID": record.from_cluster,
            "clusterID": record.cluster_id,
            "revision": record.revision,
            "highestRevision": record.highest_revision,
            "finished": rfc3339(record.finished) if record.finished else "",
        },
        RecoveryStatus,
    )


def _finished(record: RecoveryRecord) -> str:
    behind = max(0, record.highest_revision - record.revision)
    more = f"; another surviving member had {behind} revisions more" if behind else ""
    kept = f"revision {record.revision}" if record.revision else "all that it had"
    return f"recovered from {record.survivor} with {kept}{more}; what only {', '.join(record.lost)} had is lost"


def _stale(assessment: Assessment) -> str:
    """Return a note about an acknowledgement of another loss, which is ignored; empty if there is none."""
    asked, done = assessment.desired.spec.recovery, assessment.observed.recovery
    loss = examine(assessment)
    known = {one for one in (done.nonce if done else "", loss.nonce if loss else "") if one}
    if asked is None or asked.nonce in known:
        return ""
    return f"; spec.recovery names the nonce {asked.nonce}, which is ignored"


def _shortened(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH_MAX else text[: MESSAGE_LENGTH_MAX - 3] + "..."
