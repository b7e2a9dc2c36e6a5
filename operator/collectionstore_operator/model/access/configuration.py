"""The configuration of access control that a cluster is to have, from its resource. Pure.

Without spec.access: a cluster on Kubernetes that was made under an operator that knows access control enforces it, from
its first moment on (`begun`). An older one goes on serving everybody, and says so; what it enforces already stays
enforced. A local cluster has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from collectionstore_operator.model.access_seen import AccessSeen
from collectionstore_operator.resource.access_control import Access, JwtIssuer, Limits, ServiceAccountRule
from collectionstore_operator.resource.desired import Desired

Begun: TypeAlias = Literal["", "Disabled", "Enforced"]
"""What a cluster without spec.access has had since it was made: empty for one on Kubernetes that is older."""

_DEFAULTS: Final[dict[str, Any]] = {"session_s": 3_600}
"""What a configuration says that says nothing of it."""
_FIELDS: Final = (
    "mode",
    "anonymous_roles",
    "jwt",
    "service_accounts",
    "limits",
    "session_s",
    "revoked_certificates",
)
"""The fields of a configuration, in an answer that has others beside them."""


def wanted(desired: Desired, seen: AccessSeen, *, begun: Begun) -> str | None:
    """Return the configuration as canonical JSON text; None where what there is stays as it is."""
    access = desired.spec.access
    if access is not None:
        return canonical(configuration(access))
    if begun == "Enforced":
        return canonical(configuration(Access()))
    if begun == "Disabled":
        return canonical(configuration(Access(mode="Disabled"))) if seen.configured else None
    # Never less than what it has: a record that was lost must not open a cluster.
    return None if seen.configured else canonical(configuration(Access(mode="Permissive")))


def mode_of(config: str) -> str:
    """Return the mode of a canonical configuration; empty for none."""
    found: dict[str, Any] = msgspec.json.decode(config) if config else {}
    return str(found.get("mode", ""))


def anonymous_of(config: str) -> tuple[str, ...]:
    """Return the roles of requests without a credential, of a canonical configuration."""
    found: dict[str, Any] = msgspec.json.decode(config) if config else {}
    return tuple(found.get("anonymous_roles", ()))


def canonical(config: Mapping[str, Any]) -> str:
    """Return a configuration as JSON text: fields in order, without what is empty or said anyway, or is no part of it.

    An answer of a cluster says everything, and what is put says what differs from the defaults: both become the same.
    """
    known = {name: config[name] for name in _FIELDS if name in config and config[name] != _DEFAULTS.get(name)}
    return msgspec.json.encode(_compact(known), order="deterministic").decode()


def _compact(value: Any) -> Any:
    if isinstance(value, dict):
        found = {key: _compact(one) for key, one in value.items()}
        # Zero is said where it is no default: of a leeway.
        return {key: one for key, one in found.items() if one not in (None, [], {}, "") and (one or key == "leeway_s")}
    if isinstance(value, list | tuple):
        return [_compact(one) for one in value]
    return value


def configuration(access: Access) -> dict[str, Any]:
    """Return the body of `PUT /api/v1/access`."""
    accounts = access.service_accounts
    return {
        "mode": access.effective_mode,
        "anonymous_roles": list(access.anonymous),
        "jwt": [_issuer(one) for one in access.jwt_issuers or ()],
        "service_accounts": None
        if accounts is None
        else {"audiences": [accounts.audience], "rules": [_account(one) for one in accounts.rules]},
        "limits": bounds(access.limits) if access.limits is not None else {},
        "session_s": access.session_seconds or _DEFAULTS["session_s"],
        "revoked_certificates": list(access.revoked_certificates or ()),
    }


def bounds(limits: Limits) -> dict[str, int]:
    """Return the bounds that are set."""
    found = {
        "requests_per_second": limits.requests_per_second,
        "bytes_per_second": limits.bytes_per_second,
        "streams": limits.streams,
    }
    return {name: bound for name, bound in found.items() if bound}


def _issuer(one: JwtIssuer) -> dict[str, Any]:
    return {
        "issuer": one.issuer,
        "audiences": list(one.audiences),
        "algorithms": list(one.algorithms),
        "jwks_url": one.jwks_url or "",
        "ca": one.authority or "",
        "leeway_s": one.leeway_seconds,
        "keys_max_age_s": one.keys_max_age_seconds,
        "user_claim": one.user_claim,
        # Issuers must not be able to name each other's users, nor those of the cluster.
        "user_prefix": f"{one.name}:",
        "rules": [{"claim": rule.claim, "values": list(rule.values), "roles": list(rule.roles)} for rule in one.rules],
    }


def _account(rule: ServiceAccountRule) -> dict[str, Any]:
    return {
        "namespace": rule.namespace,
        "name": rule.name or "*",
        "user": rule.user or "",
        "roles": list(rule.roles),
    }
