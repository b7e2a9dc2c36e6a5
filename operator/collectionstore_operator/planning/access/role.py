"""What is to be done for one role: it exists in its cluster with its rules. Pure. Invariants: those of users."""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.access.actions import AccessAction, AccessPlan, PutRole, ReleaseAccess, RemoveRole
from collectionstore_operator.model.access.observed import RoleObserved
from collectionstore_operator.model.access.obstacles import obstacle
from collectionstore_operator.model.access.store import StoreRole
from collectionstore_operator.model.access.wanted import is_role_taken, role_differs, wanted_role
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.planning.access.pace import waiting_s
from collectionstore_operator.planning.access.user import hold, released_at_once
from collectionstore_operator.planning.backups.pace import BUSY_S, IDLE_S
from collectionstore_operator.resource.access.desired import Role


def plan_role(role: Role, observed: RoleObserved) -> AccessPlan:
    """Return what is to be done."""
    if role.deleting:
        actions = tuple(_deletion(role, observed))
        done = not role.held or any(isinstance(one, ReleaseAccess) for one in actions)
        return AccessPlan(actions=actions, wait_s=BUSY_S, done=done)
    actions = (*hold(role), *_living(role, observed))
    waits = obstacle(observed.cluster, role.spec.cluster_name)
    if waits is not None:
        return AccessPlan(actions=actions, wait_s=waiting_s(waits))
    busy = bool(actions) or isinstance(observed.role, Unknown)
    return AccessPlan(actions=actions, wait_s=BUSY_S if busy else IDLE_S)


def _living(role: Role, observed: RoleObserved) -> Iterator[AccessAction]:
    if observed.namespace_terminating or obstacle(observed.cluster, role.spec.cluster_name) is not None:
        return
    found = observed.role
    if isinstance(found, Absent):
        yield PutRole(body=wanted_role(role), reason="the cluster does not have the role yet")
    elif isinstance(found, StoreRole) and not is_role_taken(role, found) and role_differs(role, found):
        yield PutRole(body=wanted_role(role), reason="the role in the cluster is not as its resource says")


def _deletion(role: Role, observed: RoleObserved) -> Iterator[AccessAction]:
    if not role.held:
        return
    why = released_at_once(role, observed)
    found = observed.role
    if why:
        yield ReleaseAccess(reason=why)
    elif isinstance(found, Absent):
        yield ReleaseAccess(reason="the cluster does not have the role any more")
    elif isinstance(found, StoreRole) and is_role_taken(role, found):
        yield ReleaseAccess(reason="the role in the cluster belongs to another owner")
    elif isinstance(found, StoreRole):
        yield RemoveRole(reason="its resource is being deleted")
        yield ReleaseAccess(reason="the role is deleted from the cluster")
