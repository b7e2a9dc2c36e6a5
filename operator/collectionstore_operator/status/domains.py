"""Failure domains: whether the loss of one machine or zone would cost the quorum although a member may fail. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore_operator.model import quorum
from collectionstore_operator.model.assessment import Assessment, responding_node
from collectionstore_operator.model.observed import NodeId, Pod

_DOMAINS: Final[tuple[tuple[str, str, Callable[[Pod], str]], ...]] = (
    ("nodes", "Kubernetes node", lambda pod: pod.machine),
    ("zones", "zone", lambda pod: pod.zone),
)


def shared_risk(assessment: Assessment) -> str:
    """Return which machine or zone holds so many voters that its loss would cost the quorum; empty if none does.

    Only for domains that spec.spread spreads over. A cluster whose members are all in one zone, or on one machine, has
    been put there: what counts is that a failure that `faultTolerance` promises to survive would not be survived.
    """
    view = assessment.view
    for field, title, domain_of in _DOMAINS:
        if getattr(assessment.desired.spec.spread, field) == "Disabled":
            continue
        held = _voters_by_domain(assessment, domain_of)
        if len(held) < 2:
            continue  # one domain, or unknown ones: there is nothing to spread over
        for domain, voters in held.items():
            if len(voters) > 1 and not quorum.has_quorum(view.configuration, view.in_sync_voters - voters):
                names = ", ".join(sorted(member.name for member in view.members if member.node_id in voters))
                return f"the {title} {domain} holds {names}: the cluster would lose its quorum with it"
    return ""


def _voters_by_domain(assessment: Assessment, domain_of: Callable[[Pod], str]) -> dict[str, set[NodeId]]:
    held: dict[str, set[NodeId]] = {}
    for slot in assessment.observed.slots:
        node = responding_node(slot, assessment.observed.cluster_id)
        domain = domain_of(slot.pod) if isinstance(slot.pod, Pod) else ""
        if node is not None and domain and node.node_id in assessment.view.in_sync_voters:
            held.setdefault(domain, set()).add(node.node_id)
    return held
