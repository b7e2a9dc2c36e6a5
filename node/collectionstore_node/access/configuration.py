"""The access configuration of a store: its mode, and whose credentials it accepts.

Certificates, tokens and passwords need none. Tokens of others are accepted by their issuer and by rules that say who
their bearers are here.
"""

from __future__ import annotations

import re
from typing import Annotated, Final

import msgspec

from collectionstore_node.access.bodies import USER_NAME, USER_NAME_RULE, check_names, decoded, invalid
from collectionstore_node.access.builtin import OPERATOR
from collectionstore_node.access.callers import ANONYMOUS_USER
from collectionstore_node.access.limits import NO_LIMITS, UserLimits
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.users import USER_ROLES_MAX

CONFIGURATION_BYTES_MAX: Final = 256 << 10
ISSUERS_MAX: Final = 16
RULES_MAX: Final = 256
"""Rules of an issuer, and of ServiceAccounts."""
AUDIENCES_MAX: Final = 16
VALUES_MAX: Final = 64
TEXT_MAX: Final = 1_024
"""Characters of a URL, a claim or an audience."""
CA_BYTES_MAX: Final = 32 << 10
LEEWAY_S_MAX: Final = 300
KEYS_AGE_S_MAX: Final = 30 * 86_400
SESSION_S_MAX: Final = 30 * 86_400
REVOKED_MAX: Final = 1_000
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a private key: a shared secret, and no signature, are not accepted."""
EVERY: Final = "*"
_FILE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")
"""No path: the configuration names no other file of a member."""
_SERIAL: Final = re.compile(r"0|[1-9a-f][0-9a-f]{0,39}")
"""At most 20 bytes (RFC 5280, section 4.1.2.2)."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]


class ClaimRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Roles for the bearers of tokens whose `claim` is one of `values`, or a list that contains one."""

    claim: Text
    """Its name; with dots, that of a claim within a claim."""
    values: tuple[Text, ...]
    """`*` for any value."""
    roles: tuple[str, ...] = ()
    user: str = ""
    """Who the bearer is here; empty for what `user_claim` says."""


class JwtIssuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """An issuer of JWTs (OIDC), whose keys come from `jwks_url` or `jwks_file`, or from discovery without both."""

    issuer: Text
    """What `iss` must be."""
    audiences: tuple[Text, ...]
    """One of them must be in `aud`."""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    jwks_url: str = ""
    jwks_file: str = ""
    """Name of a file in the folder of keys of every member."""
    ca: str = ""
    """Certificates (PEM) that vouch for the server of `jwks_url`; empty for those of the system."""
    leeway_s: Annotated[int, msgspec.Meta(ge=0, le=LEEWAY_S_MAX)] = 30
    """How far clocks may differ."""
    keys_max_age_s: Annotated[int, msgspec.Meta(ge=60, le=KEYS_AGE_S_MAX)] = 86_400
    """How long keys are used that cannot be fetched again."""
    user_claim: Text = "sub"
    user_prefix: str = ""
    """What is put before the claim to make the name of the user, so that issuers do not name each other's users."""
    rules: tuple[ClaimRule, ...] = ()


class ServiceAccountRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Who the ServiceAccounts of a namespace are here; the first rule that matches counts."""

    namespace: Text
    name: Text = EVERY
    """Of the ServiceAccount; `*` for all of the namespace."""
    user: str = ""
    """Empty for `system:serviceaccount:NAMESPACE:NAME`."""
    roles: tuple[str, ...] = ()


class ServiceAccounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Tokens of Kubernetes ServiceAccounts, bound to one of `audiences`."""

    audiences: tuple[Text, ...]
    issuer: str = ""
    """What `iss` must be; empty for the one of the cluster that the member runs in."""
    jwks_url: str = ""
    jwks_file: str = ""
    """Where the keys of the issuer are; without both, the API server is asked for them."""
    rules: tuple[ServiceAccountRule, ...] = ()


class AccessConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The access control of a store, beside its users, roles and tokens."""

    mode: Mode
    anonymous_roles: tuple[str, ...] = ()
    """Roles of requests without a credential; without any, such requests are answered 401."""
    jwt: tuple[JwtIssuer, ...] = ()
    service_accounts: ServiceAccounts | None = None
    limits: UserLimits = NO_LIMITS
    """Of each user whose record has none."""
    session_s: Annotated[int, msgspec.Meta(ge=60, le=SESSION_S_MAX)] = 3_600
    """How long a login with a password lasts."""
    revoked_certificates: tuple[str, ...] = ()
    """Serial numbers of client certificates that are refused, in hexadecimal without leading zeros."""


def parse_configuration(body: bytes) -> AccessConfiguration:
    """Return the configuration that the JSON object `body` describes. Raises `InvalidPart("invalid_access")`.

    Whether the roles that it names exist is not known here.
    """
    given = decoded(body, AccessConfiguration, "an access configuration", bytes_max=CONFIGURATION_BYTES_MAX)
    _check_roles(given.anonymous_roles, "/anonymous_roles")
    if len(given.jwt) > ISSUERS_MAX:
        raise invalid("/jwt", f"{len(given.jwt)} issuers; at most {ISSUERS_MAX} are allowed")
    for at, issuer in enumerate(given.jwt):
        _check_issuer(issuer, f"/jwt/{at}")
        if any(issuer.issuer == other.issuer for other in given.jwt[:at]):
            raise invalid(f"/jwt/{at}/issuer", "another one is the same issuer")
    if len(given.revoked_certificates) > REVOKED_MAX:
        raise invalid("/revoked_certificates", f"at most {REVOKED_MAX} serial numbers")
    for at, serial in enumerate(given.revoked_certificates):
        if _SERIAL.fullmatch(serial) is None:
            raise invalid(f"/revoked_certificates/{at}", "a serial number is written in 0-9 and a-f, without leading 0")
    if given.service_accounts is not None:
        _check_accounts(given.service_accounts, "/service_accounts")
    return given


def roles_named(given: AccessConfiguration) -> list[tuple[str, str]]:
    """Return the roles that a configuration names, each with its pointer."""
    named = [("/anonymous_roles", given.anonymous_roles)]
    for at, issuer in enumerate(given.jwt):
        named += [(f"/jwt/{at}/rules/{rule}/roles", one.roles) for rule, one in enumerate(issuer.rules)]
    if given.service_accounts is not None:
        accounts = given.service_accounts
        named += [(f"/service_accounts/rules/{rule}/roles", one.roles) for rule, one in enumerate(accounts.rules)]
    return [(name, f"{pointer}/{at}") for pointer, names in named for at, name in enumerate(names)]


def _check_roles(names: tuple[str, ...], pointer: str) -> None:
    check_names(names, pointer, most=USER_ROLES_MAX)
    if OPERATOR in names:
        raise invalid(f"{pointer}/{names.index(OPERATOR)}", "the role 'operator' is granted by certificates alone")


def _check_issuer(issuer: JwtIssuer, pointer: str) -> None:
    _check_audiences(issuer.audiences, pointer)
    if not issuer.algorithms or len(issuer.algorithms) > len(ALGORITHMS):
        raise invalid(f"{pointer}/algorithms", f"1 to {len(ALGORITHMS)} algorithms")
    for at, algorithm in enumerate(issuer.algorithms):
        if algorithm not in ALGORITHMS:
            raise invalid(f"{pointer}/algorithms/{at}", f"an algorithm is one of {', '.join(ALGORITHMS)}")
    _check_place(issuer.jwks_url, issuer.jwks_file, pointer)
    if not issuer.jwks_url and not issuer.jwks_file and not _is_url(issuer.issuer):
        raise invalid(f"{pointer}/issuer", "without keys, the issuer is an https URL at which they are discovered")
    if len(issuer.ca.encode()) > CA_BYTES_MAX:
        raise invalid(f"{pointer}/ca", f"at most {CA_BYTES_MAX} bytes of certificates")
    if issuer.user_prefix and USER_NAME.fullmatch(issuer.user_prefix) is None:
        raise invalid(f"{pointer}/user_prefix", "a prefix is the beginning of the name of a user")
    if len(issuer.rules) > RULES_MAX:
        raise invalid(f"{pointer}/rules", f"{len(issuer.rules)} rules; at most {RULES_MAX} are allowed")
    for at, rule in enumerate(issuer.rules):
        if not 1 <= len(rule.values) <= VALUES_MAX:
            raise invalid(f"{pointer}/rules/{at}/values", f"1 to {VALUES_MAX} values")
        _check_user(rule.user, f"{pointer}/rules/{at}/user")
        _check_roles(rule.roles, f"{pointer}/rules/{at}/roles")


def _check_accounts(accounts: ServiceAccounts, pointer: str) -> None:
    _check_audiences(accounts.audiences, pointer)
    _check_place(accounts.jwks_url, accounts.jwks_file, pointer)
    if len(accounts.issuer) > TEXT_MAX:
        raise invalid(f"{pointer}/issuer", f"at most {TEXT_MAX} characters")
    if len(accounts.rules) > RULES_MAX:
        raise invalid(f"{pointer}/rules", f"{len(accounts.rules)} rules; at most {RULES_MAX} are allowed")
    for at, rule in enumerate(accounts.rules):
        _check_user(rule.user, f"{pointer}/rules/{at}/user")
        _check_roles(rule.roles, f"{pointer}/rules/{at}/roles")


def _check_audiences(audiences: tuple[str, ...], pointer: str) -> None:
    # Without one, a token for any other service would be accepted here.
    if not 1 <= len(audiences) <= AUDIENCES_MAX:
        raise invalid(f"{pointer}/audiences", f"1 to {AUDIENCES_MAX} audiences")


def _check_user(name: str, pointer: str) -> None:
    if name and (USER_NAME.fullmatch(name) is None or name == ANONYMOUS_USER):
        raise invalid(pointer, f"the name of a user is {USER_NAME_RULE}, and not {ANONYMOUS_USER!r}")


def _check_place(url: str, file: str, pointer: str) -> None:
    if url and file:
        raise invalid(f"{pointer}/jwks_file", "the keys come from one place: jwks_url or jwks_file")
    if url and not _is_url(url):
        raise invalid(f"{pointer}/jwks_url", f"an https URL of at most {TEXT_MAX} characters")
    if file and _FILE.fullmatch(file) is None:
        raise invalid(f"{pointer}/jwks_file", "the name of a file in the folder of keys, without a path")


def _is_url(text: str) -> bool:
    return text.startswith("https://") and len(text) <= TEXT_MAX and text.isprintable() and " " not in text
