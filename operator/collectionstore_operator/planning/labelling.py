"""Labels that pods and claims of the cluster have lost. Pure.

Pods and claims are found by name, so nothing is decided from their labels. But a pod without labels is in no Service
and under no budget, the StatefulSet's controller lets go of it, and people do not find a claim without them.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.actions import RestoreLabels
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Pod, Volume
from collectionstore_operator.model.plan import Proposal, propose


def restore(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to label pods and claims again. Not while paused: removed labels isolate a pod for an inspection."""
    for slot in assessment.observed.slots:
        name, reason = assessment.name(slot.ordinal), "its labels were changed, by which Services and budgets find it"
        if isinstance(slot.pod, Pod) and not slot.pod.labelled and not slot.pod.terminating:
            action = RestoreLabels(kind="Pod", name=name, uid=slot.pod.uid, reason=reason)
            yield propose(action, subject=f"Pod {name}")
        if isinstance(slot.volume, Volume) and not slot.volume.labelled:
            reason = "it lacks labels of the cluster, or labels and annotations of spec.storage"
            action = RestoreLabels(
                kind="PersistentVolumeClaim", name=slot.volume.name, uid=slot.volume.uid, reason=reason
            )
            yield propose(action, subject=f"PersistentVolumeClaim {slot.volume.name}")
