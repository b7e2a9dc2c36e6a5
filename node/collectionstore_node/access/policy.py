"""From the roles and users of a store to the rights of a caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from collectionstore_node.access.builtin import BUILT_IN, OPERATOR
from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.rights import CompiledRule, Rights, compile_rules
from collectionstore_node.access.roles import DEPTH_MAX, Role
from collectionstore_node.access.users import User

CALLERS_KEPT_MAX: Final = 4_096
"""Callers, by user and roles, whose rights are remembered."""


class Policy:
    """The access control of a store at one access revision. Belongs to one thread."""

    __slots__ = (
        "_anonymous",
        "_by_roles",
        "_compiled",
        "_find_user",
        "_known",
        "_nothing",
        "_roles",
        "mode",
        "revision",
    )

    def __init__(
        self,
        roles: Mapping[str, Role],
        find_user: Callable[[str], User | None],
        *,
        mode: Mode,
        revision: int,
        anonymous_roles: tuple[str, ...] = (),
    ) -> None:
        """`roles` are those that were created; `find_user` reads the record of a user, when it is first asked for."""
        self.mode = mode
        self.revision = revision
        self._roles = roles
        self._find_user = find_user
        self._anonymous = anonymous_roles
        self._known: dict[tuple[str, tuple[str, ...], bool], Rights] = {}
        self._compiled: dict[str, tuple[CompiledRule, ...]] = {}
        self._by_roles: dict[tuple[str, ...], Rights] = {}
        self._nothing = Rights((), mode=mode, revision=revision)

    def rights(self, caller: Caller | None) -> Rights:
        """Return what a caller may do; nothing for None, unless access control is off."""
        if caller is None:
            return self._nothing
        anonymous = caller.method is Method.ANONYMOUS
        key = (caller.user, caller.roles, anonymous)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= CALLERS_KEPT_MAX:
                self._known.clear()
                self._by_roles.clear()
            known = self._known[key] = self._compile(self.roles_of(caller))
        return known

    def roles_of(self, caller: Caller) -> tuple[str, ...]:
        """Return the names of the roles that a caller has, without those that they inherit; none if it is disabled."""
        if caller.method is Method.ANONYMOUS:
            return (*self._anonymous, *caller.roles)
        # The way back in: no record of a user takes the operator's rights away.
        if OPERATOR in caller.roles:
            return caller.roles
        user = self._find_user(caller.user)
        if user is None:
            return caller.roles
        return () if user.disabled else (*user.roles, *caller.roles)

    def role(self, name: str) -> Role | None:
        """Return the role called `name`, or None: it grants nothing then."""
        return BUILT_IN.get(name) or self._roles.get(name)

    def _compile(self, roles: tuple[str, ...]) -> Rights:
        if self.mode is Mode.DISABLED:
            return self._nothing
        # Those who have the same roles share what is compiled, and what it remembers.
        known = self._by_roles.get(roles)
        if known is None:
            rules = [rule for name in inherited(roles, self.role) for rule in self._rules_of(name)]
            known = self._by_roles[roles] = Rights(rules, mode=self.mode, revision=self.revision)
        return known

    def _rules_of(self, name: str) -> tuple[CompiledRule, ...]:
        known = self._compiled.get(name)
        if known is None:
            role = self.role(name)
            known = self._compiled[name] = () if role is None else compile_rules(role)
        return known


def inherited(names: Iterable[str], find: Callable[[str], Role | None]) -> list[str]:
    """Return `names` and the names of all roles that they inherit, each once.

    `find` returns None for one that does not exist.
    """
    found = list(dict.fromkeys(names))
    seen = set(found)
    level = found[:]
    # Longer chains are refused where roles are stored: this bounds the work, whatever the state says.
    for _ in range(DEPTH_MAX):
        level = [
            one
            for name in level
            if (role := find(name)) is not None
            for one in role.inherits
            if not (one in seen or seen.add(one))  # type: ignore[func-returns-value]
        ]
        if not level:
            break
        found += level
    return found
