"""What is to be done for one user: it exists in its cluster, and a Secret holds its credential. Pure.

Invariants:
- our finalizer is on the resource BEFORE anything is made in the cluster for it, unless its policy is Retain;
- a user that is there and not ours is neither changed nor deleted, and gets no credential;
- our finalizer is removed only when the user is deleted, when nothing may or can be deleted, or the cluster is gone.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectionstore_operator.model.access.actions import (
    AccessAction,
    AccessPlan,
    HoldAccess,
    PutUser,
    ReleaseAccess,
    RemoveUser,
)
from collectionstore_operator.model.access.observed import RoleObserved, UserObserved
from collectionstore_operator.model.access.obstacles import obstacle
from collectionstore_operator.model.access.store import StoreUser
from collectionstore_operator.model.access.wanted import is_user_taken, user_differs, wanted_user
from collectionstore_operator.model.backups.observed import ClusterSeen
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.planning.access.credential import next_at, plan_credential
from collectionstore_operator.planning.access.pace import waiting_s
from collectionstore_operator.planning.backups.pace import BUSY_S, IDLE_S, until
from collectionstore_operator.resource.access.desired import Role, User


def plan_user(user: User, observed: UserObserved) -> AccessPlan:
    """Return what is to be done."""
    if user.deleting:
        actions = tuple(_deletion(user, observed))
        done = not user.held or any(isinstance(one, ReleaseAccess) for one in actions)
        return AccessPlan(actions=actions, wait_s=BUSY_S, done=done)
    actions = (*hold(user), *_living(user, observed))
    waits = obstacle(observed.cluster, user.spec.cluster_name)
    if waits is not None:
        return AccessPlan(actions=actions, wait_s=waiting_s(waits))
    if actions or isinstance(observed.user, Unknown) or isinstance(observed.secret, Unknown):
        return AccessPlan(actions=actions, wait_s=BUSY_S)
    return AccessPlan(wait_s=until(next_at(observed), observed.now, at_most_s=IDLE_S))


def hold(resource: User | Role) -> Iterator[AccessAction]:
    """Yield what is to be done about our finalizer on a resource that is not being deleted."""
    if resource.spec.deletion_policy == "Delete" and not resource.held:
        yield HoldAccess(reason="it is deleted from the cluster before the resource goes")
    if resource.spec.deletion_policy == "Retain" and resource.held:
        yield ReleaseAccess(reason="it stays in the cluster when the resource is deleted")


def _living(user: User, observed: UserObserved) -> Iterator[AccessAction]:
    if observed.namespace_terminating or obstacle(observed.cluster, user.spec.cluster_name) is not None:
        return
    found = observed.user
    if isinstance(found, Unknown):
        return
    if isinstance(found, Absent):
        yield PutUser(body=wanted_user(user), reason="the cluster does not have the user yet")
    elif is_user_taken(user, found):
        return
    elif user_differs(user, found):
        yield PutUser(body=wanted_user(user), reason="the user in the cluster is not as its resource says")
    yield from plan_credential(user, observed)


def _deletion(user: User, observed: UserObserved) -> Iterator[AccessAction]:
    if not user.held:
        return
    why = released_at_once(user, observed)
    if why:
        yield ReleaseAccess(reason=why)
        return
    found = observed.user
    if isinstance(found, Absent):
        yield ReleaseAccess(reason="the cluster does not have the user any more")
    elif isinstance(found, StoreUser) and is_user_taken(user, found):
        yield ReleaseAccess(reason="the user in the cluster belongs to another owner")
    elif isinstance(found, StoreUser):
        yield RemoveUser(reason="its resource is being deleted")
        yield ReleaseAccess(reason="the user is deleted from the cluster")


def released_at_once(resource: User | Role, observed: UserObserved | RoleObserved) -> str:
    """Return why a resource that is being deleted waits for nothing in its cluster; empty if it does."""
    if resource.spec.deletion_policy == "Retain":
        return "spec.deletionPolicy is Retain"
    if observed.namespace_terminating:
        return "the namespace is being deleted"
    cluster = observed.cluster
    if isinstance(cluster, Absent):
        return "the cluster is gone"
    if isinstance(cluster, ClusterSeen):
        if not cluster.initialized:
            return "the cluster was never bootstrapped: nothing was made in it"
        if cluster.desired.deleting and not cluster.desired.spec.deletion_protection:
            return "the cluster is being deleted"
    return ""
