"""The last backup of a cluster whose resource is being deleted. Pure.

Until it is complete the cluster is reconciled as before, because a backup needs members that serve. The deadline ends
an attempt and never the wait: to lose the data is a decision of the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from collectionstore_operator.model.actions import CreateFinalBackup, RecordPlannedWork, RecordProtectedDeletion
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.final_backup import FinalBackupSeen, advice, asked_for, given_up, name_of
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.model.plan import Proposal, postpone, propose
from collectionstore_operator.model.planned_work import FinalBackupEnd
from collectionstore_operator.model.timestamps import rfc3339

_REASON = "the resource is being deleted, and spec.deletion.finalBackup is set"
_STEP = CreateFinalBackup.__name__
FRESH_S: Final = 900.0
"""For how long a complete backup is the last one of a cluster whose teardown is held back, as while it is paused.
Longer than a restart of the operator, which records the end within seconds."""


def awaited(assessment: Assessment) -> bool:
    """Return whether the deletion has to wait for a final backup."""
    desired = assessment.desired
    if asked_for(desired) is None or _ended(assessment) or given_up(desired) or _complete(assessment):
        return False
    return _may_have_data(assessment)


def record_end(assessment: Assessment, blocker: str) -> Iterator[Proposal]:
    """Propose to record that the backup is complete or given up, BEFORE the first pod stops.

    Upkeep, because nothing that holds changes back may keep a user from giving it up. That it is complete is recorded
    only if no `blocker` holds the teardown back: a cluster that goes on serves what the backup lacks. A record that
    cannot be read holds nothing back either: then the end is what is observed.
    """
    desired, work = assessment.desired, assessment.observed.planned_work
    complete = _complete(assessment)
    ends = asked_for(desired) is not None and (complete or given_up(desired))
    if not ends or _ended(assessment) or work.unreadable or not _may_have_data(assessment):
        return
    if complete and blocker:
        if not given_up(desired):
            return
        complete = False  # the user needs none: that is to last, and not which backup there is
    end = FinalBackupEnd(uid=desired.uid, backup=name_of(desired) if complete else "")
    told = f"the backup {end.backup} is complete" if complete else "the user gives the final backup up"
    action = RecordPlannedWork(work=msgspec.structs.replace(work, final_backup=end), was=work, reason=told)
    yield propose(action, subject=name_of(desired))


def hold(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to record the deletion as a protected one while it waits, where volumes are to be deleted.

    Operators of versions without final backups would tear the cluster down at once after a rollback. They keep the
    volumes of a deletion that was protected.
    """
    desired, observed = assessment.desired, assessment.observed
    if desired.spec.deletion_protection or not awaited(assessment) or not desired.uid:
        return
    if desired.spec.storage.retention == "Retain" or observed.deletion_was_protected or observed.deletion_held:
        return
    reason = "the deletion waits for a final backup: an operator that knows none has to keep the volumes"
    yield propose(RecordProtectedDeletion(uid=desired.uid, awaits_backup=True, reason=reason), subject=desired.name)


def take(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to create the backup, or show what it waits for."""
    seen, name = assessment.observed.final_backup, name_of(assessment.desired)
    if isinstance(seen, Unknown):
        blocker = f"the backup {name} cannot be read: {seen.reason}"
    elif isinstance(seen, Absent):
        blocker = _obstacle(assessment)
    else:
        blocker = _unfinished(seen, assessment)
    if blocker:
        yield postpone(_STEP, reason=_REASON, blocked_by=blocker, subject=name)
    else:
        yield propose(CreateFinalBackup(name=name, reason=_REASON), subject=name)


def _ended(assessment: Assessment) -> bool:
    ended = assessment.observed.planned_work.final_backup
    return ended is not None and ended.uid == assessment.desired.uid


def _may_have_data(assessment: Assessment) -> bool:
    """Return whether there may be something to back up.

    Also when the record is gone and no member answers: the status says that there was data, while volumes are left.
    Without any, the deletion was about to end.
    """
    if assessment.view.maybe_initialized:
        return True
    volumes = [slot.volume for slot in assessment.observed.all_slots()]
    return assessment.observed.published.initialized and any(not isinstance(one, Absent) for one in volumes)


def _complete(assessment: Assessment) -> bool:
    """Return whether the backup is complete and the last: of this cluster, and of now.

    An earlier one of the name has another ID.
    """
    seen = assessment.observed.final_backup
    if not isinstance(seen, FinalBackupSeen) or seen.state != "Complete":
        return False
    return seen.cluster_id == assessment.observed.cluster_id != "" and not _stale(seen, assessment)


def _stale(seen: FinalBackupSeen, assessment: Assessment) -> bool:
    """Return whether the cluster has served for so long since that the backup is not its last state.

    Not asked once the end is recorded. Where it cannot be recorded, what has begun must not be taken back with time.
    """
    if not seen.completed_at or assessment.observed.planned_work.unreadable:
        return False
    return assessment.observed.now - seen.completed_at > FRESH_S


def _obstacle(assessment: Assessment) -> str:
    """Return why no backup can be made now; empty if one can."""
    desired, view = assessment.desired, assessment.view
    if desired.spec.asleep:
        return f"the cluster is hibernated: set spec.hibernate to false to back it up; {advice(desired)}"
    if view.untrusted_reason:
        # A backup is read from a member that the leader confirms: without a quorum it would hold what may be undone.
        return f"a backup needs a quorum, and {view.untrusted_reason}: repair or recover it; {advice(desired)}"
    return ""


def _unfinished(seen: FinalBackupSeen, assessment: Assessment) -> str:
    desired = assessment.desired
    if seen.state == "Failed":
        return f"the backup {seen.name} failed: {seen.message}; delete it to try again; {advice(desired)}"
    if seen.state == "Complete" and seen.cluster_id == assessment.observed.cluster_id:
        since = f"is complete since {rfc3339(seen.completed_at)}, and lacks what was written after it began"
        return f"the backup {seen.name} {since}: delete it, and another is made; {advice(desired)}"
    if seen.state == "Complete":
        return f"the backup {seen.name} is of another cluster, {seen.cluster_id}: delete it; {advice(desired)}"
    lost = assessment.view.untrusted_reason
    quorum = f"; it needs a quorum, and {lost}: repair or recover it; {advice(desired)}" if lost else ""
    return f"the backup {seen.name} must be complete: {seen.message or 'it runs'}{quorum}"
