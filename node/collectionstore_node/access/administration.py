"""Who may administer access control: the question before a change that could lock everyone out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from collectionstore_node.access.policy import inherited
from collectionstore_node.access.roles import Effect, Role, verbs_of
from collectionstore_node.access.verbs import Kind, Verb


def administers(roles: Iterable[str], find: Callable[[str], Role | None]) -> bool:
    """Whether those who have `roles` may administer the cluster. `find` returns a role, None for an unknown one."""
    allowed = False
    for name in inherited(roles, find):
        role = find(name)
        for rule in () if role is None else role.rules:
            if rule.cluster and Verb.ADMIN in verbs_of(rule, Kind.CLUSTER):
                if rule.effect is Effect.DENY:
                    return False
                allowed = True
    return allowed
