"""Who may administer access control: the question before a change that could lock everyone out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from collectionstore_node.access.policy import inherited
from collectionstore_node.access.roles import Effect, Role, verbs_of
from collectionstore_node.access.verbs import Kind, Verb


class _Says(NamedTuple):
    """What a role, with all that it inherits, says of administering the cluster."""

    allows: bool
    denies: bool


class Administration:
    """Which roles may administer the cluster; each is looked at once."""

    __slots__ = ("_find", "_known")

    def __init__(self, find: Callable[[str], Role | None]) -> None:
        """`find` returns the role of a name, None for an unknown one."""
        self._find = find
        self._known: dict[str, _Says] = {}

    def allowed(self, roles: Iterable[str]) -> bool:
        """Whether those who have `roles` may administer the cluster."""
        said = [self._says(name) for name in roles]
        return any(one.allows for one in said) and not any(one.denies for one in said)

    def _says(self, name: str) -> _Says:
        known = self._known.get(name)
        if known is None:
            effects = {
                rule.effect
                for one in inherited((name,), self._find)
                if (role := self._find(one)) is not None
                for rule in role.rules
                if rule.cluster and Verb.ADMIN in verbs_of(rule, Kind.CLUSTER)
            }
            known = self._known[name] = _Says(Effect.ALLOW in effects, Effect.DENY in effects)
        return known
