"""The status of a CollectionStoreRole. Pure: the time is an argument."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from collectionstore_operator.model.access.observed import RoleObserved
from collectionstore_operator.model.access.obstacles import obstacle
from collectionstore_operator.model.access.store import StoreRole
from collectionstore_operator.model.access.wanted import is_role_taken, role_differs
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.resource.access.desired import Role
from collectionstore_operator.status.access.user_status import READY
from collectionstore_operator.status.backups.fields import StatusPart
from collectionstore_operator.status.condition_state import ConditionState
from collectionstore_operator.status.published import Text
from collectionstore_operator.status.published_conditions import conditions_from


class RoleStatus(StatusPart, frozen=True):
    """The observed state of a role."""

    message: Annotated[Text, Meta(description="message explains the current state.")] = ""


def role_status(role: Role, observed: RoleObserved, previous: RoleStatus | None, failure: str = "") -> RoleStatus:
    """Return the status; `failure` is why the last attempt to change something failed, empty if it did not."""
    return _status(_ready(role, observed, failure), role.generation, previous, observed.now)


def refused_role(message: str, generation: int, previous: RoleStatus | None, now: float) -> RoleStatus:
    """Return the status of a role whose spec is invalid; what there is of it in the cluster stays."""
    return _status(ConditionState("False", "InvalidSpec", message), generation, previous, now)


def _status(ready: ConditionState, generation: int, previous: RoleStatus | None, now: float) -> RoleStatus:
    before = previous or RoleStatus()
    conditions = conditions_from({READY: ready}, before, generation, now)
    return msgspec.structs.replace(
        before, observed_generation=generation, conditions=conditions, message=ready.message[:1_024]
    )


def _ready(role: Role, observed: RoleObserved, failure: str) -> ConditionState:
    if observed.namespace_terminating:
        return ConditionState("False", "NamespaceTerminating", "the namespace is being deleted")
    found = obstacle(observed.cluster, role.spec.cluster_name)
    if found is not None:
        return ConditionState("Unknown" if found.unknown else "False", found.reason, found.message)
    if role.deleting:
        return ConditionState("False", "Deleting", failure or "the role is being deleted from the cluster")
    store = observed.role
    if isinstance(store, Unknown):
        return ConditionState("Unknown", "RoleUnknown", f"the role cannot be read: {store.reason}")
    if isinstance(store, StoreRole) and is_role_taken(role, store):
        message = f"the cluster has a role {role.name} that is not ours: delete or rename one of them"
        return ConditionState("False", "RoleTaken", message)
    if isinstance(store, Absent) or role_differs(role, store):
        return ConditionState("False", "Refused" if failure else "Pending", failure or "the role is made next")
    return ConditionState("True", "Established", f"the cluster has the role with {len(role.spec.rules)} rules")
