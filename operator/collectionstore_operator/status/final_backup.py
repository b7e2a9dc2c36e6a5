"""The condition FinalBackup: only of clusters whose deletion asks for one. Pure."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.model.actions import CreateFinalBackup
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.final_backup import FinalBackupSeen, asked_for
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.status.condition_state import ConditionState

FINAL_BACKUP: Final = "FinalBackup"


def final_backup(assessment: Assessment, plan: Plan) -> ConditionState | None:
    """Return whether the backup that a deletion waits for is complete; None where there is none."""
    observed = assessment.observed
    if asked_for(assessment.desired) is None:
        return None
    ended = observed.planned_work.final_backup
    if ended is not None and ended.uid == assessment.desired.uid:
        if not ended.backup:
            return ConditionState("False", "GivenUp", "the user gave the final backup up: the cluster is torn down")
        return ConditionState("True", "Complete", f"the backup {ended.backup} is complete: the cluster is torn down")
    step = next((one for one in plan.steps if one.name == CreateFinalBackup.__name__), None)
    seen = observed.final_backup
    if step is None and isinstance(seen, FinalBackupSeen) and seen.state == "Complete":
        held = next((one.blocked_by for one in plan.steps if one.blocked_by), "")
        lacks = "; it lacks what is written after it began" if held else ""
        told = f"the backup {seen.name} is complete, and the teardown follows"
        return ConditionState(
            "False", "Held" if held else "Running", f"{told} once it may: {held}{lacks}" if held else told
        )
    if step is None:
        return ConditionState("Unknown", "Waiting", "the final backup has not been planned yet")
    if isinstance(seen, FinalBackupSeen):
        reason = "Failed" if seen.state != "Active" else "NoQuorum" if assessment.view.untrusted_reason else "Running"
    else:
        reason = "Blocked" if step.blocked_by else "Running"
    return ConditionState("False", reason, step.blocked_by or f"the backup {step.subject} is created")
