"""The condition AuditLogWorks: only of clusters that keep an audit log. Pure.

Messages hold no numbers: those change with every request, and an idle cluster must not write its status.
"""

from __future__ import annotations

from typing import Final

from collectionstore_operator.model.assessment import Assessment, responding_node
from collectionstore_operator.status.condition_state import ConditionState

AUDIT_LOG_WORKS: Final = "AuditLogWorks"
REASON_CHARACTERS_MAX: Final = 200
_CONSEQUENCES: Final = {
    "Never": "what does not fit into memory is lost",
    "WhenFull": "requests are refused when memory for records is full",
    "WhenFailing": "requests that would be recorded are refused",
}


def audit_log_works(assessment: Assessment) -> ConditionState | None:
    """Return whether every sink of every member takes records; None where no audit log is kept."""
    audit = assessment.desired.spec.audit
    if audit is None:
        return None
    failing: list[str] = []
    reports = 0
    for slot in assessment.slots():
        node = responding_node(slot, assessment.observed.cluster_id)
        if node is None or node.audit is None:
            continue
        reports += 1
        failing += [
            f"the sink {sink.name} of {assessment.name(slot.ordinal)}: {sink.failing[:REASON_CHARACTERS_MAX]}"
            for sink in node.audit.sinks
            if sink.failing
        ]
    if failing:
        return ConditionState("False", "SinkFailing", f"{'; '.join(failing)}; {_CONSEQUENCES[audit.blocking]}")
    if not reports:
        return ConditionState("Unknown", "NoReport", "no member reports of its audit log")
    return ConditionState("True", "Recording", "all sinks of the members that respond take records")
