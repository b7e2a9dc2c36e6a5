"""What happens while objects of others lie under names that the cluster needs: nothing is done to them. Pure.

A cluster that is not initialized yet waits as a whole, so that nothing is created beside objects of others. A cluster
that lives goes on without the object: its members still need repair. Without its own record, keys or StatefulSet it
waits as well: what they would say is not known.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import ForeignObject, Observed
from collectionstore_operator.model.plan import Proposal, postpone

ESSENTIAL: Final = frozenset({"ConfigMap", "Secret", "StatefulSet"})
"""Kinds without which nothing can be decided or done."""


def conflicts(assessment: Assessment) -> Iterator[Proposal]:
    """Yield the objects that cannot be applied, because they belong to another owner."""
    for one in assessment.observed.foreign:
        blocked_by = f"the {one.kind} {one.name} belongs to {one.owner}"
        reason = "the cluster needs an object of this name"
        yield postpone("ApplyObject", reason=reason, blocked_by=blocked_by, subject=f"{one.kind} {one.name}")


def hold_everything(assessment: Assessment) -> bool:
    """Return whether nothing may be done for the cluster until the conflict is gone."""
    observed = assessment.observed
    return bool(observed.foreign) and (
        not assessment.view.maybe_initialized or any(_essential(assessment, one) for one in observed.foreign)
    )


def _essential(assessment: Assessment, one: ForeignObject) -> bool:
    # Without the StatefulSet of read replicas there are none of those, and the cluster is what it is.
    of_reads = one.name == assessment.desired.reads().workload
    return one.kind in ESSENTIAL and not of_reads


def holds_workload(observed: Observed) -> bool:
    """Return whether the StatefulSet under the name of the cluster belongs to another owner."""
    return any(one.kind == "StatefulSet" for one in observed.foreign)


def holds_pod(observed: Observed, member: str) -> bool:
    """Return whether the pod under the name of a member belongs to another owner."""
    return any((one.kind, one.name) == ("Pod", member) for one in observed.foreign)


def holds_claim(observed: Observed, member: str) -> bool:
    """Return whether the claim under the name of a member's belongs to another owner."""
    return any(one.kind == "PersistentVolumeClaim" and one.name.endswith(f"-{member}") for one in observed.foreign)
