"""Users and roles as a cluster is to have them, and whether what it has is theirs and the same. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from collectionstore_operator.model.access.configuration import bounds
from collectionstore_operator.model.access.store import StoreRole, StoreUser
from collectionstore_operator.resource.access import names
from collectionstore_operator.resource.access.desired import Role, User
from collectionstore_operator.resource.access_specs import RoleRule


def wanted_user(user: User) -> dict[str, Any]:
    """Return the user as the cluster is to have it: JSON, without what is empty."""
    spec = user.spec
    return {
        "roles": list(spec.roles),
        **({"disabled": True} if spec.suspended else {}),
        "description": names.description(names.USER_KIND, user.namespace, user.name),
        **({"limits": bounds(spec.limits)} if spec.limits is not None else {}),
    }


def is_user_taken(user: User, found: StoreUser) -> bool:
    """Return whether a user of the name belongs to another owner."""
    return found.description != names.description(names.USER_KIND, user.namespace, user.name)


def user_differs(user: User, found: StoreUser) -> bool:
    """Return whether a user of ours is not as it is to be."""
    wanted = wanted_user(user)
    limits = {key: value for key, value in (found.limits or {}).items() if value}
    return (
        sorted(found.roles) != sorted(user.spec.roles)
        or found.disabled != user.spec.suspended
        or limits != wanted.get("limits", {})
    )


def wanted_role(role: Role) -> dict[str, Any]:
    """Return the role as the cluster is to have it: JSON, without what is empty."""
    return {
        "rules": [_rule(one) for one in role.spec.rules],
        **({"inherits": list(role.spec.inherits)} if role.spec.inherits else {}),
        "description": names.description(names.ROLE_KIND, role.namespace, role.name),
    }


def is_role_taken(role: Role, found: StoreRole) -> bool:
    """Return whether a role of the name belongs to another owner."""
    return found.description != names.description(names.ROLE_KIND, role.namespace, role.name)


def role_differs(role: Role, found: StoreRole) -> bool:
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
