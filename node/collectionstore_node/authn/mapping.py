"""Who the bearer of a verified token is here: its claims, by the rules of the access configuration. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from collectionstore_node.access.bodies import USER_NAME
from collectionstore_node.access.builtin import OPERATOR
from collectionstore_node.access.callers import ANONYMOUS_USER
from collectionstore_node.access.configuration import EVERY, ClaimRule, JwtIssuer, ServiceAccounts
from collectionstore_node.authn.refusals import Reason, Refused

VALUES_MAX: Final = 1_024
"""Of a claim that is a list: how many of its values are looked at."""
_SERVICE_ACCOUNT: Final = "system:serviceaccount"
_RESERVED: Final = frozenset((ANONYMOUS_USER, OPERATOR))
"""Names that say how somebody came in, which no token of others claims."""


class Bearer(NamedTuple):
    """A user, and the roles that the token grants."""

    user: str
    roles: tuple[str, ...]


def bearer_of(claims: Mapping[str, Any], issuer: JwtIssuer) -> Bearer:
    """Return who the bearer of a token of `issuer` is. Raises `Refused`."""
    rules = [rule for rule in issuer.rules if _matches(claims, rule)]
    user = next((rule.user for rule in rules if rule.user), "")
    if not user:
        named = claim(claims, issuer.user_claim)
        if not isinstance(named, str) or not named:
            raise Refused(Reason.UNMAPPED)
        user = issuer.user_prefix + named
    if USER_NAME.fullmatch(user) is None or user in _RESERVED:
        raise Refused(Reason.UNMAPPED)
    return Bearer(user, tuple(dict.fromkeys(role for rule in rules for role in rule.roles)))


def service_account_of(claims: Mapping[str, Any], accounts: ServiceAccounts) -> Bearer:
    """Return who a ServiceAccount is: the first rule that matches says it. Raises `Refused`."""
    subject = claims.get("sub")
    parts = subject.rsplit(":", 2) if isinstance(subject, str) else []
    if len(parts) != 3 or parts[0] != _SERVICE_ACCOUNT or not parts[1] or not parts[2]:
        raise Refused(Reason.UNMAPPED)
    _, namespace, name = parts
    for rule in accounts.rules:
        if rule.namespace in (namespace, EVERY) and rule.name in (name, EVERY):
            user = rule.user or f"{_SERVICE_ACCOUNT}:{namespace}:{name}"
            if USER_NAME.fullmatch(user) is None:
                break
            return Bearer(user, rule.roles)
    raise Refused(Reason.UNMAPPED)


def claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim by its name, or by dots that of a claim within a claim; None if there is none.

    A name that has dots itself, as names that are URLs do, comes first.
    """
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def _matches(claims: Mapping[str, Any], rule: ClaimRule) -> bool:
    given = claim(claims, rule.claim)
    if given is None:
        return False
    if rule.values == (EVERY,):
        return True
    if isinstance(given, bool):
        return ("true" if given else "false") in rule.values
    values = given[:VALUES_MAX] if isinstance(given, list) else [given]
    return any(isinstance(one, str) and one in rule.values for one in values)
