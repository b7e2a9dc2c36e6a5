"""What is to be done for one role: it exists in its cluster with its rules. Pure. Invariants: those of users."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from collectionstore_operator.model.access.actions import AccessAction, AccessPlan, PutRole, ReleaseAccess, RemoveRole
from collectionstore_operator.model.access.observed import RoleObserved
from collectionstore_operator.model.access.store import StoreRole
from collectionstore_operator.model.observed import Absent, Unknown
from collectionstore_operator.planning.access.obstacles import obstacle
from collectionstore_operator.planning.access.user import hold, released_at_once
from collectionstore_operator.planning.backups.pace import BUSY_S, IDLE_S
from collectionstore_operator.resource.access import names
from collectionstore_operator.resource.access.desired import Role
from collectionstore_operator.resource.access.specs import RoleRule


def plan_role(role: Role, observed: RoleObserved) -> AccessPlan:
    """Return what is to be done."""
    if role.deleting:
        actions = tuple(_deletion(role, observed))
        done = not role.held or any(isinstance(one, ReleaseAccess) for one in actions)
        return AccessPlan(actions=actions, wait_s=BUSY_S, done=done)
    actions = (*hold(role), *_living(role, observed))
    waits = obstacle(observed.cluster, role.spec.cluster_name)
    if waits is not None:
        return AccessPlan(actions=actions, wait_s=waits.wait_s)
    busy = bool(actions) or isinstance(observed.role, Unknown)
    return AccessPlan(actions=actions, wait_s=BUSY_S if busy else IDLE_S)


def wanted_role(role: Role) -> dict[str, Any]:
    """Return the role as the cluster is to have it: JSON, without what is empty."""
    return {
        "rules": [_rule(one) for one in role.spec.rules],
        **({"inherits": list(role.spec.inherits)} if role.spec.inherits else {}),
        "description": names.description(names.ROLE_KIND, role.namespace, role.name),
    }


def is_taken(role: Role, found: StoreRole) -> bool:
    """Return whether a role of the name belongs to another owner."""
    return found.description != names.description(names.ROLE_KIND, role.namespace, role.name)


def differs(role: Role, found: StoreRole) -> bool:
    """Return whether a role of ours is not as it is to be."""
    rules = tuple(_without_defaults(one) for one in found.rules)
    wanted = tuple(_without_defaults(_rule(one)) for one in role.spec.rules)
    return rules != wanted or sorted(found.inherits) != sorted(role.spec.inherits)


def _without_defaults(rule: dict[str, Any]) -> dict[str, Any]:
    """Return a rule without what it says anyway; a filter stays as it is, since what is empty in it means something."""
    fields = {key: value for key, value in (rule.get("fields") or {}).items() if value}
    kept = {key: value for key, value in rule.items() if key not in ("effect", "fields", "filter") and value}
    effect = {} if rule.get("effect", "allow") == "allow" else {"effect": rule["effect"]}
    found = {} if rule.get("filter") is None else {"filter": rule["filter"]}
    return {**kept, **effect, **found, **({"fields": fields} if fields else {})}


def _rule(rule: RoleRule) -> dict[str, Any]:
    mask = rule.fields
    fields = {} if mask is None else {"show": list(mask.show)} if mask.show else {"hide": list(mask.hide)}
    return {
        **({"effect": "deny"} if rule.effect == "Deny" else {}),
        "verbs": list(rule.verbs),
        **({"collections": list(rule.collections)} if rule.collections else {}),
        **({"buckets": list(rule.buckets)} if rule.buckets else {}),
        **({"cluster": True} if rule.cluster else {}),
        **({"filter": msgspec.json.decode(rule.filter)} if rule.filter is not None else {}),
        **({"fields": fields} if fields else {}),
    }


def _living(role: Role, observed: RoleObserved) -> Iterator[AccessAction]:
    if observed.namespace_terminating or obstacle(observed.cluster, role.spec.cluster_name) is not None:
        return
    found = observed.role
    if isinstance(found, Absent):
        yield PutRole(body=wanted_role(role), reason="the cluster does not have the role yet")
    elif isinstance(found, StoreRole) and not is_taken(role, found) and differs(role, found):
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
    elif isinstance(found, StoreRole) and is_taken(role, found):
        yield ReleaseAccess(reason="the role in the cluster belongs to another owner")
    elif isinstance(found, StoreRole):
        yield RemoveRole(reason="its resource is being deleted")
        yield ReleaseAccess(reason="the role is deleted from the cluster")
