"""Roles: named lists of rules, and the roles that they inherit."""

from __future__ import annotations

import enum
from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.access.bodies import PATTERN, check_names, decoded, invalid
from collectionstore_node.access.verbs import VERBS_OF, Kind, Verb
from collectionstore_node.documents.filters import parse_filter
from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.projection import parse_projection
from collectionstore_node.errors import InvalidPart

ROLE_BYTES_MAX: Final = 32 << 10
RULES_MAX: Final = 64
NAMES_MAX: Final = 64
"""Collections, or buckets, of a rule."""
INHERITED_MAX: Final = 16
"""Roles that a role inherits by itself."""
FILTERS_MAX: Final = 16
"""Rules of a role with a filter."""
FILTERS_BYTES_MAX: Final = 8 << 10
"""All filters of a role: parsing them takes some milliseconds."""
PATTERNS_MAX: Final = 8
"""Regular expressions in all filters of a role."""
ALL_RULES_MAX: Final = 128
"""Rules of a role and of all that it inherits."""
DEPTH_MAX: Final = 8
"""How many roles inherit one another in a row."""
FILTER_BYTES_MAX: Final = 4 << 10
FIELDS_MAX: Final = 64
DESCRIPTION_MAX: Final = 1_024
EVERY_VERB: Final = "*"
EVERY_NAME: Final = "*"
_VERBS: Final = frozenset(map(str, Verb))


class Effect(enum.StrEnum):
    """Whether a rule allows or denies. One that denies goes before all that allow."""

    ALLOW = "allow"
    DENY = "deny"


class FieldMask(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Fields by dotted paths: either those that are shown, or those that are hidden."""

    show: tuple[str, ...] = ()
    hide: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Verbs on resources. `filter` and `fields` restrict a rule to documents and fields of its collections."""

    effect: Effect = Effect.ALLOW
    verbs: tuple[str, ...]
    """Names of verbs, or `*` alone for all that there are for the resources."""
    collections: tuple[str, ...] = ()
    """Names, or beginnings of names with a star behind."""
    buckets: tuple[str, ...] = ()
    cluster: bool = False
    filter: dict[str, Any] | None = None
    """A filter of queries, without `$expr`: the documents that the rule is about."""
    fields: FieldMask | None = None


class Role(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What those who have the role may do, and may not."""

    rules: tuple[Rule, ...] = ()
    inherits: tuple[str, ...] = ()
    """Names of roles whose rules count as well."""
    description: str = ""


def parse_role(body: bytes) -> Role:
    """Return the role that the JSON object `body` describes. Raises `InvalidPart("invalid_access")`.

    Whether the roles that it inherits exist is not known here.
    """
    role = decoded(body, Role, "a role", bytes_max=ROLE_BYTES_MAX)
    check_description(role.description)
    check_names(role.inherits, "/inherits", most=INHERITED_MAX)
    if len(role.rules) > RULES_MAX:
        raise invalid("/rules", f"a role has {len(role.rules)} rules; at most {RULES_MAX} are allowed")
    filters = _Filters()
    for at, rule in enumerate(role.rules):
        _check_rule(rule, f"/rules/{at}", filters)
    return role


class _Filters:
    """Counts the filters of a role: BEFORE each is parsed, as that takes its time."""

    def __init__(self) -> None:
        self._count = self._bytes = self._patterns = 0

    def add(self, text: bytes, pointer: str) -> None:
        """Count one more. Raises `InvalidPart`."""
        self._count += 1
        self._bytes += len(text)
        # A third of a millisecond for each, and up to three.
        self._patterns += text.count(b'"$regex":')
        if self._count > FILTERS_MAX:
            raise invalid(pointer, f"at most {FILTERS_MAX} rules of a role have a filter")
        if self._bytes > FILTERS_BYTES_MAX:
            raise invalid(pointer, f"the filters of a role have at most {FILTERS_BYTES_MAX} bytes together")
        if self._patterns > PATTERNS_MAX:
            raise invalid(pointer, f"the filters of a role have at most {PATTERNS_MAX} patterns")


def check_description(text: str) -> None:
    """Refuse a description that is too long. Raises `InvalidPart`."""
    if len(text) > DESCRIPTION_MAX:
        raise invalid("/description", f"a description has at most {DESCRIPTION_MAX} characters")


def kinds_of(rule: Rule) -> tuple[Kind, ...]:
    """Return the kinds of resources that a rule names."""
    named = ((Kind.COLLECTION, rule.collections), (Kind.BUCKET, rule.buckets), (Kind.CLUSTER, rule.cluster))
    return tuple(kind for kind, given in named if given)


def verbs_of(rule: Rule, kind: Kind) -> frozenset[Verb]:
    """Return the verbs of a rule that there are for `kind`."""
    return VERBS_OF[kind] if EVERY_VERB in rule.verbs else VERBS_OF[kind] & frozenset(map(Verb, rule.verbs))


def names_of(rule: Rule, kind: Kind) -> tuple[str, ...]:
    """Return the patterns of a rule for names of `kind`; the name of the cluster is empty, and `*` stands for it."""
    match kind:
        case Kind.COLLECTION:
            return rule.collections
        case Kind.BUCKET:
            return rule.buckets
        case Kind.CLUSTER:
            return (EVERY_NAME,) if rule.cluster else ()


def exact_collections(role: Role) -> list[tuple[str, str]]:
    """Return the collections that a role names in full to allow something but `create`, each with its pointer.

    A rule that denies is of use before there is anything to deny.
    """
    return [
        (name, f"/rules/{at}/collections/{position}")
        for at, rule in enumerate(role.rules)
        if rule.effect is Effect.ALLOW and Verb.CREATE not in verbs_of(rule, Kind.COLLECTION)
        for position, name in enumerate(rule.collections)
        if not name.endswith("*")
    ]


def _check_rule(rule: Rule, pointer: str, filters: _Filters) -> None:
    kinds = kinds_of(rule)
    if not kinds:
        raise invalid(pointer, "a rule names collections, buckets or the cluster")
    _check_verbs(rule, kinds, f"{pointer}/verbs")
    for field, names in (("collections", rule.collections), ("buckets", rule.buckets)):
        if len(names) > NAMES_MAX:
            raise invalid(f"{pointer}/{field}", f"{len(names)} names; at most {NAMES_MAX} are allowed")
        for at, name in enumerate(names):
            if PATTERN.fullmatch(name) is None:
                raise invalid(
                    f"{pointer}/{field}/{at}",
                    "a name is 1-63 of a-z, 0-9, '_' and '-', first a letter or digit; with '*' behind it is a prefix, "
                    "and '*' alone stands for all",
                )
    for field, given in (("filter", rule.filter), ("fields", rule.fields)):
        if given is not None and kinds != (Kind.COLLECTION,):
            raise invalid(
                f"{pointer}/{field}", "only a rule for collections alone is restricted to documents or fields"
            )
    if rule.fields is not None:
        _check_fields(rule.fields, rule.effect, f"{pointer}/fields")
    if rule.filter is not None:
        _check_filter(rule.filter, f"{pointer}/filter", filters)


def _check_verbs(rule: Rule, kinds: tuple[Kind, ...], pointer: str) -> None:
    if not rule.verbs:
        raise invalid(pointer, "a rule has one verb or more")
    for at, verb in enumerate(rule.verbs[: len(Verb) + 1]):
        if verb == EVERY_VERB:
            if len(rule.verbs) > 1:
                raise invalid(f"{pointer}/{at}", "'*' stands for all verbs, and alone")
            return
        if verb not in _VERBS:
            raise invalid(f"{pointer}/{at}", f"a verb is one of {', '.join(Verb)}, or '*'")
        if verb in rule.verbs[:at]:
            raise invalid(f"{pointer}/{at}", "a verb is named once")
        if not any(Verb(verb) in VERBS_OF[kind] for kind in kinds):
            named = " or ".join(kinds)
            raise invalid(f"{pointer}/{at}", f"there is no {verb} for what the rule names: {named}")


def _check_filter(given: dict[str, Any], pointer: str, filters: _Filters) -> None:
    try:
        # As it goes along with commands: what cannot be written so would fail there.
        text = orjson.dumps(given)
    except orjson.JSONEncodeError:
        raise invalid(pointer, "the filter is nested too deeply, or has a number of more than 64 bits") from None
    if len(text) > FILTER_BYTES_MAX:
        raise invalid(pointer, f"the filter of a rule has at most {FILTER_BYTES_MAX} bytes")
    filters.add(text, pointer)
    try:
        parse_filter(given, pointer)
    except InvalidPart as error:
        raise invalid(error.pointer, error.detail) from None


def _check_fields(fields: FieldMask, effect: Effect, pointer: str) -> None:
    if bool(fields.show) is bool(fields.hide):
        raise invalid(pointer, "fields are either shown or hidden: one of 'show' and 'hide', with one path or more")
    if effect is Effect.DENY and fields.show:
        raise invalid(f"{pointer}/show", "a rule that denies hides fields; it shows none")
    field, paths = ("show", fields.show) if fields.show else ("hide", fields.hide)
    if len(paths) > FIELDS_MAX:
        raise invalid(f"{pointer}/{field}", f"{len(paths)} paths; at most {FIELDS_MAX} are allowed")
    for at, path in enumerate(paths):
        if path in paths[:at]:
            raise invalid(f"{pointer}/{field}/{at}", "a path is named once")
    try:
        parse_projection(dict.fromkeys(paths, 1))
    except InvalidPart as error:
        at = next((at for at, path in enumerate(paths) if child("", path) == error.pointer), 0)
        raise invalid(f"{pointer}/{field}/{at}", error.detail.replace("projection", "list")) from None
