"""The access configuration of a store: its mode, and whose credentials it accepts.

Certificates, tokens and passwords need none. Tokens of others are accepted by their issuer and by rules that say who
their bearers are here.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from collectionstore_node.access.bodies import ROLE_NAME, USER_NAME, check_names, decoded, invalid
from collectionstore_node.access.builtin import OPERATOR
from collectionstore_node.access.limits import NO_LIMITS, CollectionLimits, UserLimits
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.users import USER_ROLES_MAX

CONFIGURATION_BYTES_MAX: Final = 256 << 10
ISSUERS_MAX: Final = 16
RULES_MAX: Final = 256
"""Rules of an issuer, and of ServiceAccounts."""
AUDIENCES_MAX: Final = 16
COLLECTION_LIMITS_MAX: Final = 1_000
"""Collections with limits of their own."""
TEXT_MAX: Final = 1_024
"""Characters of a URL, a path, a claim or an audience."""
KEYS_BYTES_MAX: Final = 64 << 10
"""A set of keys within the configuration."""
LEEWAY_S_MAX: Final = 300
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a private key: a shared secret, and no signature, are not accepted."""
EVERY: Final = "*"

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]


class ClaimRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Roles for the bearers of tokens whose `claim` is `value`, or is a list that contains it."""

    claim: Text
    """Its name; with dots, that of a claim within a claim."""
    value: Text
    roles: tuple[str, ...]


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """An issuer of JWTs (OIDC), whose keys come from one of `jwks_url`, `jwks_file` and `jwks`, or from discovery."""

    name: Text
    """A name for messages and metrics."""
    issuer: Text
    """What `iss` must be."""
    audiences: tuple[Text, ...]
    """One of them must be in `aud`."""
    algorithms: tuple[str, ...] = ("RS256",)
    jwks_url: str = ""
    jwks_file: str = ""
    """A path on every member."""
    jwks: str = ""
    """The text of a JSON Web Key Set (RFC 7517)."""
    leeway_s: Annotated[int, msgspec.Meta(ge=0, le=LEEWAY_S_MAX)] = 30
    """How far clocks may differ."""
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
    """Where the keys of the issuer are; without both, the API server reviews each token (TokenReview)."""
    rules: tuple[ServiceAccountRule, ...] = ()


class AccessConfiguration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """The access control of a store, beside its users, roles and tokens."""

    mode: Mode
    anonymous_roles: tuple[str, ...] = ()
    """Roles of requests without a credential; without any, such requests are answered 401."""
    issuers: tuple[Issuer, ...] = ()
    service_accounts: ServiceAccounts | None = None
    limits: UserLimits = NO_LIMITS
    """Of each user whose record has none."""
    collection_limits: tuple[CollectionLimits, ...] = ()
    """Of collections, whoever asks for them."""


def parse_configuration(body: bytes) -> AccessConfiguration:
    """Return the configuration that the JSON object `body` describes. Raises `InvalidPart("invalid_access")`.

    Whether the roles that it names exist is not known here.
    """
    given = decoded(body, AccessConfiguration, "an access configuration", bytes_max=CONFIGURATION_BYTES_MAX)
    _check_roles(given.anonymous_roles, "/anonymous_roles")
    if len(given.issuers) > ISSUERS_MAX:
        raise invalid("/issuers", f"{len(given.issuers)} issuers; at most {ISSUERS_MAX} are allowed")
    for at, issuer in enumerate(given.issuers):
        _check_issuer(issuer, f"/issuers/{at}")
        for field in ("name", "issuer"):
            if any(getattr(issuer, field) == getattr(other, field) for other in given.issuers[:at]):
                raise invalid(f"/issuers/{at}/{field}", "another issuer has the same")
    if given.service_accounts is not None:
        _check_accounts(given.service_accounts, "/service_accounts")
    _check_collection_limits(given.collection_limits, "/collection_limits")
    return given


def roles_named(given: AccessConfiguration) -> list[tuple[str, str]]:
    """Return the roles that a configuration names, each with its pointer."""
    named = [("/anonymous_roles", given.anonymous_roles)]
    for at, issuer in enumerate(given.issuers):
        named += [(f"/issuers/{at}/rules/{rule}/roles", one.roles) for rule, one in enumerate(issuer.rules)]
    if given.service_accounts is not None:
        accounts = given.service_accounts
        named += [(f"/service_accounts/rules/{rule}/roles", one.roles) for rule, one in enumerate(accounts.rules)]
    return [(name, f"{pointer}/{at}") for pointer, names in named for at, name in enumerate(names)]


def _check_roles(names: tuple[str, ...], pointer: str) -> None:
    check_names(names, pointer, most=USER_ROLES_MAX)
    if OPERATOR in names:
        raise invalid(f"{pointer}/{names.index(OPERATOR)}", "the role 'operator' is granted by certificates alone")


def _check_issuer(issuer: Issuer, pointer: str) -> None:
    if ROLE_NAME.fullmatch(issuer.name) is None:
        raise invalid(f"{pointer}/name", "the name of an issuer is 1-63 of a-z, 0-9, '_' and '-'")
    _check_audiences(issuer.audiences, pointer)
    if not issuer.algorithms or len(issuer.algorithms) > len(ALGORITHMS):
        raise invalid(f"{pointer}/algorithms", "one algorithm or more")
    for at, algorithm in enumerate(issuer.algorithms):
        if algorithm not in ALGORITHMS:
            raise invalid(f"{pointer}/algorithms/{at}", f"an algorithm is one of {', '.join(ALGORITHMS)}")
    sources = [field for field in ("jwks_url", "jwks_file", "jwks") if getattr(issuer, field)]
    if len(sources) > 1:
        raise invalid(f"{pointer}/{sources[1]}", "the keys come from one place: jwks_url, jwks_file or jwks")
    _check_place(issuer.jwks_url, issuer.jwks_file, pointer)
    if not sources and not _is_url(issuer.issuer):
        raise invalid(f"{pointer}/issuer", "without keys, the issuer is an https URL at which they are discovered")
    if len(issuer.jwks.encode()) > KEYS_BYTES_MAX:
        raise invalid(f"{pointer}/jwks", f"a set of keys has at most {KEYS_BYTES_MAX} bytes")
    if issuer.user_prefix and USER_NAME.fullmatch(issuer.user_prefix) is None:
        raise invalid(f"{pointer}/user_prefix", "a prefix is the beginning of the name of a user")
    if len(issuer.rules) > RULES_MAX:
        raise invalid(f"{pointer}/rules", f"{len(issuer.rules)} rules; at most {RULES_MAX} are allowed")
    for at, rule in enumerate(issuer.rules):
        _check_roles(rule.roles, f"{pointer}/rules/{at}/roles")


def _check_accounts(accounts: ServiceAccounts, pointer: str) -> None:
    _check_audiences(accounts.audiences, pointer)
    if accounts.jwks_url and accounts.jwks_file:
        raise invalid(f"{pointer}/jwks_file", "the keys come from one place: jwks_url or jwks_file")
    _check_place(accounts.jwks_url, accounts.jwks_file, pointer)
    if len(accounts.issuer) > TEXT_MAX:
        raise invalid(f"{pointer}/issuer", f"at most {TEXT_MAX} characters")
    if len(accounts.rules) > RULES_MAX:
        raise invalid(f"{pointer}/rules", f"{len(accounts.rules)} rules; at most {RULES_MAX} are allowed")
    for at, rule in enumerate(accounts.rules):
        if rule.user and USER_NAME.fullmatch(rule.user) is None:
            raise invalid(f"{pointer}/rules/{at}/user", "not a name of a user")
        _check_roles(rule.roles, f"{pointer}/rules/{at}/roles")


def _check_collection_limits(limits: tuple[CollectionLimits, ...], pointer: str) -> None:
    if len(limits) > COLLECTION_LIMITS_MAX:
        raise invalid(pointer, f"{len(limits)} collections; at most {COLLECTION_LIMITS_MAX} are allowed")
    known: set[str] = set()
    for at, one in enumerate(limits):
        if not one.collection or len(one.collection) > TEXT_MAX:
            raise invalid(f"{pointer}/{at}/collection", "the name of a collection")
        if one.collection in known:
            raise invalid(f"{pointer}/{at}/collection", "the collection has limits already")
        known.add(one.collection)


def _check_audiences(audiences: tuple[str, ...], pointer: str) -> None:
    # Without one, a token for any other service would be accepted here.
    if not 1 <= len(audiences) <= AUDIENCES_MAX:
        raise invalid(f"{pointer}/audiences", f"1 to {AUDIENCES_MAX} audiences")


def _check_place(url: str, file: str, pointer: str) -> None:
    if url and not _is_url(url):
        raise invalid(f"{pointer}/jwks_url", f"an https URL of at most {TEXT_MAX} characters")
    if file and not (file.startswith("/") and len(file) <= TEXT_MAX):
        raise invalid(f"{pointer}/jwks_file", f"an absolute path of at most {TEXT_MAX} characters")


def _is_url(text: str) -> bool:
    return text.startswith("https://") and len(text) <= TEXT_MAX and text.isprintable() and " " not in text
