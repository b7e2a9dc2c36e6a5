"""The volumes that a restore in place has set aside, and that are to be deleted in the end."""

from __future__ import annotations

import msgspec

from collectionstore_operator.model.actions import DiscardVolumes
from collectionstore_operator.model.plan import Proposal, propose
from collectionstore_operator.model.recovery import RecoveryRecord


def discard(record: RecoveryRecord, when: str) -> Proposal:
    """Propose to delete all that a restore was to delete in the end; `when` says why that is now."""
    kept = () if record.delete_old else record.old_volumes
    forgotten = msgspec.structs.replace(record, old_volumes=kept, overdue=())
    reason = f"spec.restore.oldVolumes is Delete, and {when}"
    action = DiscardVolumes(volumes=record.to_discard, record=forgotten, reason=reason)
    return propose(action, subject=", ".join(one.name for one in record.to_discard))
