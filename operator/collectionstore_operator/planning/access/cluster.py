"""The configuration of access control of a cluster: when it is put into the cluster. Pure.

It needs a leader, like every write. Members start with what a new cluster is to enforce (`statefulset`), so nothing is
open before it is there.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.access.configuration import mode_of, wanted
from collectionstore_operator.model.access_seen import AccessSeen
from collectionstore_operator.model.actions import ConfigureAccess
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.plan import Proposal, propose


def configure(assessment: Assessment) -> Iterator[Proposal]:
    """Propose to replace the configuration, where it is known and not as the resource says."""
    seen, view = assessment.observed.access, assessment.view
    if not isinstance(seen, AccessSeen) or not seen.supported or not (view.trusted and view.leader is not None):
        return
    config = wanted(assessment.desired, seen, begun=assessment.observed.access_begun)
    if config is None or config == seen.config:
        return
    # The configuration is in the action, and not in its reason: it is shown.
    reason = f"spec.access asks for the mode {mode_of(config)}"
    if seen.configured and mode_of(seen.config) == mode_of(config):
        reason = "the members accept other credentials, or grant other roles, than spec.access says"
    yield propose(ConfigureAccess(config=config, reason=reason), subject=assessment.desired.name)
