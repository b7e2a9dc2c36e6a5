"""The condition QuorumLost: whether a majority of the disks is gone for good, or of the pods cannot start. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Pod
from collectionstore_operator.model.quorum_loss import Cause, QuorumLoss, examine
from collectionstore_operator.model.recovery import active
from collectionstore_operator.status.ailments import RECOVERY_S
from collectionstore_operator.status.condition_state import ConditionState


def quorum_lost(assessment: Assessment, unhealthy_s: Mapping[int, float]) -> ConditionState:
    """Return whether the quorum is lost, and by what. `unhealthy_s`: for how long, by ordinal."""
    record = active(assessment.observed.recovery)
    if record is not None and record.restore is not None:
        return ConditionState("True", "Restoring", "a backup replaces what the cluster had, see status.restore")
    if record is not None:
        message = f"the cluster is being recovered from {record.survivor}, see status.recovery"
        return ConditionState("True", "Recovering", message)
    if not assessment.view.initialized:
        return ConditionState("False", "NotInitialized", "the cluster has not been bootstrapped yet")
    loss = examine(assessment)
    if loss is not None and loss.cause is Cause.DISKS:
        return ConditionState("True", loss.cause.value, f"{loss.message}; nothing is changed, see status.recovery")
    if loss is not None:
        lasting = _lasts(assessment, loss, unhealthy_s)
        return ConditionState("True" if lasting else "False", loss.cause.value, loss.message)
    if assessment.view.trusted:
        return ConditionState("False", "QuorumWorks", "a majority of the voters is in sync")
    if not assessment.observed.nodes():
        return ConditionState("Unknown", "NoAnswer", "no member responds, so the voters are not known")
    return ConditionState("False", "LeaderElection", assessment.view.untrusted_reason)


def _lasts(assessment: Assessment, loss: QuorumLoss, unhealthy_s: Mapping[int, float]) -> bool:
    """Return whether the pods have been down for longer than a restart takes."""
    down = [one.ordinal for one in loss.disks if one.ordinal is not None and not one.known]
    return min((_down_s(assessment, one, unhealthy_s) for one in down), default=0.0) >= RECOVERY_S


def _down_s(assessment: Assessment, ordinal: int, unhealthy_s: Mapping[int, float]) -> float:
    pod = assessment.observed.slot(ordinal).pod
    return max(unhealthy_s.get(ordinal, 0.0), pod.unready_s if isinstance(pod, Pod) else 0.0)
