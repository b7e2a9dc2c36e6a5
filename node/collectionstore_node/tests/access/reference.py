"""The evaluator as its documentation says it, slow and obvious: no compiled rule, no memo, one document at a time."""

from __future__ import annotations

from typing import Any

from collectionstore_node.access.roles import Effect, Role, Rule
from collectionstore_node.access.verbs import VERBS_OF, Kind, Verb
from collectionstore_node.documents.filters import compile_filter, parse_filter

Paths = dict[tuple[str | int, ...], Any]


def closure(names: list[str], roles: dict[str, Role]) -> list[Role]:
    """Return the roles with these names and all that they inherit."""
    found: dict[str, Role] = {}

    def visit(name: str) -> None:
        if name in roles and name not in found:
            found[name] = roles[name]
            for parent in roles[name].inherits:
                visit(parent)

    for name in names:
        visit(name)
    return list(found.values())


def about(rule: Rule, verb: Verb, kind: Kind, name: str) -> bool:
    """Whether a rule names the verb and the resource."""
    if verb not in VERBS_OF[kind] or (verb.value not in rule.verbs and "*" not in rule.verbs):
        return False
    if kind is Kind.CLUSTER:
        return rule.cluster
    patterns = rule.collections if kind is Kind.COLLECTION else rule.buckets
    return any(one == name or (one.endswith("*") and name.startswith(one[:-1])) for one in patterns)


def allows(rules: list[Rule], verb: Verb, kind: Kind, name: str) -> bool:
    """Whether the rules allow the verb on some of the resource at least."""
    named = [rule for rule in rules if about(rule, verb, kind, name)]
    if any(rule.effect is Effect.DENY and not rule.filter and rule.fields is None for rule in named):
        return False
    return any(rule.effect is Effect.ALLOW for rule in named)


def matches(rule: Rule, document: dict[str, Any]) -> bool:
    """Whether the filter of a rule matches a document."""
    return rule.filter is None or compile_filter(parse_filter(rule.filter))(document)


def visible(rules: list[Rule], verb: Verb, collection: str, document: dict[str, Any]) -> bool:
    """Whether a document is there for the verb."""
    if not allows(rules, verb, Kind.COLLECTION, collection):
        return False
    named = [rule for rule in rules if about(rule, verb, Kind.COLLECTION, collection) and matches(rule, document)]
    if any(rule.effect is Effect.DENY and rule.fields is None for rule in named):
        return False
    return any(rule.effect is Effect.ALLOW for rule in named)


def shown_leaves(rules: list[Rule], verb: Verb, collection: str, document: dict[str, Any]) -> Paths:
    """Return the leaves of a visible document that are shown, by their paths."""
    named = [rule for rule in rules if about(rule, verb, Kind.COLLECTION, collection) and matches(rule, document)]
    showing = [rule for rule in named if rule.effect is Effect.ALLOW]
    hiding = [rule for rule in named if rule.effect is Effect.DENY and rule.fields is not None]
    return {
        path: value
        for path, value in leaves(document).items()
        if any(shows(rule, path) for rule in showing) and all(shows(rule, path) for rule in hiding)
    }


def shows(rule: Rule, path: tuple[str | int, ...]) -> bool:
    """Whether the fields of a rule let the leaf at `path` through."""
    if rule.fields is None:
        return True
    # Paths of fields go through arrays: positions are no part of them.
    names = tuple(part for part in path if isinstance(part, str))

    def within(fields: tuple[str, ...]) -> bool:
        return any(names[: len(one)] == one for one in (tuple(field.split(".")) for field in fields))

    return within(rule.fields.show) if rule.fields.show else not within(rule.fields.hide)


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> Paths:
    """Return all values of a document that are no objects and no arrays, by path."""
    if isinstance(value, dict):
        return {at: leaf for name, one in value.items() for at, leaf in leaves(one, (*path, name)).items()}
    if isinstance(value, list):
        # By rank among the elements, as elements that are hidden are left out of an array.
        return {at: leaf for rank, one in enumerate(value) for at, leaf in leaves(one, (*path, rank)).items()}
    return {path: value}
