"""The condition StorageAvailable: whether every member has space for more data. Pure.

Messages hold no sizes: they change with every write, and an idle cluster must not write its status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from collectionstore_operator.model.assessment import Assessment, responding_node
from collectionstore_operator.model.plan import Plan
from collectionstore_operator.status.condition_state import ConditionState

_CAUSES: Final[Mapping[str, tuple[str, str]]] = {
    "Disk": ("DiskFull", "has almost no space left on its volume"),
    "Quota": ("QuotaReached", "has reached spec.storage.quota"),
}
_CONSEQUENCE: Final = "writes that add data are refused, reads and deletes work"


def storage_available(assessment: Assessment, _plan: Plan) -> ConditionState:
    """Return whether the cluster takes writes that add data, by what each member reports of its disk."""
    short: list[tuple[str, str]] = []
    reports = 0
    for slot in assessment.slots():
        node = responding_node(slot, assessment.observed.cluster_id)
        if node is None or node.space is None:
            continue
        reports += 1
        if node.space.shortage:
            reason, text = _CAUSES.get(node.space.shortage, ("Short", "is short of space"))
            short.append((reason, f"{assessment.name(slot.ordinal)} {text}"))
    if short:
        return ConditionState("False", short[0][0], f"{'; '.join(text for _, text in short)}: {_CONSEQUENCE}")
    if not reports:
        return ConditionState("Unknown", "NoReport", "no member reports the space on its volume")
    return ConditionState("True", "EnoughSpace", "no member is short of space")
