"""Which cluster the resource is: a new one, or the one whose volumes or status are there already. Pure.

A cluster ID is chosen only while none is recorded. Volumes exist before the record when an earlier resource of this
name kept them; the status names an ID when the record of a living cluster was deleted. What contradicts itself is left
to people: to guess would attach members to the data of another cluster.
"""

from __future__ import annotations

from collectionstore_operator.model.actions import EstablishIdentity
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.model.plan import Proposal, postpone, propose


def establish(assessment: Assessment) -> Proposal:
    """Propose to record the cluster's identity, or say which facts contradict each other."""
    observed, subject = assessment.observed, assessment.desired.name
    blocker, reason = _contradiction(observed), _reason(observed)
    if blocker:
        return postpone(EstablishIdentity.__name__, reason=reason, blocked_by=blocker, subject=subject)
    published = observed.published
    action = EstablishIdentity(
        # Empty for a new cluster: the executor draws the ID, since a plan must not depend on chance.
        cluster_id=published.cluster_id or next(iter(observed.volume_cluster_ids), ""),
        initialized=published.initialized,
        bootstrap_node=published.bootstrap_node,
        reason=reason,
    )
    return propose(action, subject=subject)


def _contradiction(observed: Observed) -> str:
    """Return why no cluster ID can be chosen; empty when one can."""
    found, published = observed.volume_cluster_ids, observed.published.cluster_id
    if len(found) > 1:
        return f"the existing volumes belong to several clusters: {', '.join(found)}"
    if published and found and found[0] != published:
        return f"the existing volumes belong to the cluster {found[0]}, the resource to {published}"
    return ""


def _reason(observed: Observed) -> str:
    if observed.published.cluster_id:
        return f"the record is missing, and the status names the cluster {observed.published.cluster_id}"
    if observed.volume_cluster_ids:
        return f"adopt the cluster {', '.join(observed.volume_cluster_ids)}, whose volumes exist"
    return "stamp volumes and certificates with the cluster ID"
