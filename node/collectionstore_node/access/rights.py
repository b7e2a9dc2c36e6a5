"""The compiled rights of one caller: what it may do, and what of a collection it sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from collectionstore_node.access.masks import EVERYTHING, Mask, Masks, hidden, mask_of, shown
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.roles import Effect, Role, Rule, kinds_of, names_of, verbs_of
from collectionstore_node.access.verbs import VERBS_OF, Kind, Verb
from collectionstore_node.documents.filters import Node, compile_filter, parse_filter
from collectionstore_node.documents.filters.tree import And, Not, Or
from collectionstore_node.documents.paths import Match
from collectionstore_node.errors import InvalidRequest

KEPT_MAX: Final = 1_024
"""Answers that rights remember, of each kind: a caller can ask for any number of names."""


class Grant(NamedTuple):
    """A rule of a collection, compiled."""

    match: Match | None
    """The documents that it is about; None for all."""
    mask: Mask | None
    """What it shows or, if it denies, leaves; None for everything or, if it denies, nothing."""
    filter: dict[str, Any] | None
    """The filter of `match`, as JSON."""


class DocumentView:
    """What of the documents of a collection a caller sees or, for `write`, may change.

    Reads apply it BEFORE the caller's own filter, sort and projection see the document: these must not tell what is
    hidden.
    """

    __slots__ = ("_allowed", "_denied", "filter", "masked", "node")

    def __init__(self, allowed: tuple[Grant, ...], denied: tuple[Grant, ...]) -> None:
        """`allowed` are the rules of which one must match, `denied` those that go before them."""
        if any(grant.match is None and grant.mask is None for grant in allowed):
            allowed = (Grant(None, None, None),)
        self._allowed = allowed
        self._denied = denied
        self.masked = any(grant.mask is not None for grant in (*allowed, *denied))
        """Whether fields of documents may be hidden."""
        self.filter = _filter_of(allowed, denied)
        """The documents that `allows` lets through, as a filter of queries; None for all.

        For planning and for the condition of an update. It may have more tests than a filter of a client may. A pattern
        that takes too long for a document raises in it; `allows` hides the document then.
        """
        self.node: Node | None = None if self.filter is None else _node_of(self.filter)
        """The same, parsed."""

    def allows(self, document: dict[str, Any]) -> bool:
        """Whether the document is one that the caller sees, or may write: before a write, and after it."""
        return not any(grant.mask is None and _denies(grant, document) for grant in self._denied) and any(
            _matches(grant, document) for grant in self._allowed
        )

    def shown(self, document: dict[str, Any]) -> dict[str, Any] | None:
        """Return what the caller sees of a document; None for nothing, as if it did not exist."""
        if not self.allows(document):
            return None
        if not self.masked:
            return document
        found = document
        masks, hiding = self._masks(document)
        if EVERYTHING not in masks:
            found = shown(found, masks)
        for mask in hiding:
            found = shown(found, (mask,))
        return found

    def keeps(self, before: dict[str, Any], after: dict[str, Any]) -> bool:
        """Whether a write of a document that `allows` both leaves the fields alone that are not the caller's to write.

        `before` is empty for a document that is created.
        """
        if not self.masked:
            return True
        return all(
            hidden(before, masks) == hidden(after, masks)
            for document in (before, after)
            for masks in self._hiders(document)
        )

    def _hiders(self, document: dict[str, Any]) -> Iterable[Masks]:
        masks, hiding = self._masks(document)
        if masks and EVERYTHING not in masks:
            yield masks
        for mask in hiding:
            yield (mask,)

    def _masks(self, document: dict[str, Any]) -> tuple[Masks, Masks]:
        """Return the masks that show fields, any of them, and those that hide fields, each of them."""
        showing = tuple(grant.mask or EVERYTHING for grant in self._allowed if _matches(grant, document))
        hiding = tuple(grant.mask for grant in self._denied if grant.mask is not None and _denies(grant, document))
        return showing, hiding


def _matches(grant: Grant, document: dict[str, Any]) -> bool:
    if grant.match is None:
        return True
    try:
        return grant.match(document)
    except InvalidRequest:
        # A text that is too long for a pattern. Closed, and not an error: that would say that the document is there.
        return False


def _denies(grant: Grant, document: dict[str, Any]) -> bool:
    if grant.match is None:
        return True
    try:
        return grant.match(document)
    except InvalidRequest:
        return True


def _filter_of(allowed: tuple[Grant, ...], denied: tuple[Grant, ...]) -> dict[str, Any] | None:
    if not allowed:
        # Which matches nothing: a filter of alternatives has one at least.
        return {"$nor": [{}]}
    parts: list[dict[str, Any]] = []
    if all(grant.filter is not None for grant in allowed):
        filters = [grant.filter for grant in allowed]
        parts.append(filters[0] if len(filters) == 1 and filters[0] is not None else {"$or": filters})
    excluded = [grant.filter for grant in denied if grant.mask is None and grant.filter is not None]
    if excluded:
        parts.append({"$nor": excluded})
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else {"$and": parts}


def _node_of(given: dict[str, Any]) -> Node:
    """Return the node of a filter of parts that are checked each, and may be too many for one filter together."""
    if given.keys() == {"$and"}:
        return And(tuple(map(_node_of, given["$and"])))
    if given.keys() == {"$or"}:
        return Or(tuple(map(_node_of, given["$or"])))
    if given.keys() == {"$nor"}:
        return Not(Or(tuple(map(_node_of, given["$nor"]))))
    return parse_filter(given)


class CompiledRule(NamedTuple):
    """A rule for one kind of resource."""

    kind: Kind
    verbs: frozenset[Verb]
    names: frozenset[str]
    prefixes: tuple[str, ...]
    effect: Effect
    grant: Grant

    def names_it(self, name: str) -> bool:
        """Whether the rule is about the resource called `name`."""
        return name in self.names or name.startswith(self.prefixes)

    @property
    def whole(self) -> bool:
        """Whether it is about every document, and all of it."""
        return self.grant.match is None and self.grant.mask is None


def compile_rules(role: Role) -> tuple[CompiledRule, ...]:
    """Return the rules of a checked role, compiled: those who have the role share them."""
    return tuple(
        CompiledRule(
            kind,
            verbs_of(rule, kind),
            frozenset(name for name in names_of(rule, kind) if not name.endswith("*")),
            tuple(name[:-1] for name in names_of(rule, kind) if name.endswith("*")),
            rule.effect,
            grant,
        )
        for rule in role.rules
        for grant in (_grant(rule),)
        for kind in kinds_of(rule)
    )


class Rights:
    """What one caller may do, at one access revision. Immutable but for what it remembers."""

    __slots__ = ("_allowed", "_rules", "_views", "mode", "revision", "unrestricted")

    def __init__(self, rules: Iterable[CompiledRule], *, mode: Mode, revision: int) -> None:
        """`rules` are those of all roles that the caller has, in any order."""
        found = tuple(rules)
        self.revision = revision
        """The access revision that these rights were compiled at; 0 where access control was never configured."""
        self.mode = mode
        self.unrestricted = mode is Mode.DISABLED or _is_everything(found)
        """Whether everything is allowed. In the mode `Permissive` that of the mode `Enforced`."""
        self._rules: dict[tuple[Verb, Kind], list[CompiledRule]] = {}
        for rule in found:
            for verb in rule.verbs:
                self._rules.setdefault((verb, rule.kind), []).append(rule)
        self._allowed: dict[tuple[Verb, Kind, str], bool] = {}
        self._views: dict[tuple[Verb, str], DocumentView | None] = {}

    def allows(self, verb: Verb, kind: Kind, name: str) -> bool:
        """Whether the caller may do it; the name of the cluster is empty.

        For a collection, to some of its documents at least: `view` says to which.
        """
        if self.unrestricted:
            return True
        key = (verb, kind, name)
        known = self._allowed.get(key)
        if known is None:
            if len(self._allowed) >= KEPT_MAX:
                self._allowed.clear()
            known = self._allowed[key] = self._evaluate(verb, kind, name)
        return known

    def view(self, collection: str, verb: Verb = Verb.READ) -> DocumentView | None:
        """Return which documents `verb` is allowed for, and what of them; None for everything.

        Nothing is seen through the view of a collection that `allows` refuses.
        """
        if self.unrestricted:
            return None
        key = (verb, collection)
        try:
            return self._views[key]
        except KeyError:
            pass
        if len(self._views) >= KEPT_MAX:
            self._views.clear()
        found = self._views[key] = self._view(verb, collection)
        return found

    def _named(self, verb: Verb, kind: Kind, name: str) -> list[CompiledRule]:
        return [rule for rule in self._rules.get((verb, kind), ()) if rule.names_it(name)]

    def _evaluate(self, verb: Verb, kind: Kind, name: str) -> bool:
        allowed = False
        for rule in self._named(verb, kind, name):
            if rule.effect is Effect.ALLOW:
                allowed = True
            elif rule.whole:
                return False
        return allowed

    def _view(self, verb: Verb, collection: str) -> DocumentView | None:
        if not self.allows(verb, Kind.COLLECTION, collection):
            return DocumentView((), ())
        rules = self._named(verb, Kind.COLLECTION, collection)
        allowed = tuple(rule.grant for rule in rules if rule.effect is Effect.ALLOW)
        denied = tuple(rule.grant for rule in rules if rule.effect is Effect.DENY)
        if not denied and any(grant.match is None and grant.mask is None for grant in allowed):
            return None
        return DocumentView(allowed, denied)


def _grant(rule: Rule) -> Grant:
    # A filter without conditions matches every document.
    given = rule.filter or None
    match = None if given is None else compile_filter(parse_filter(given))
    return Grant(match, None if rule.fields is None else mask_of(rule.fields), given)


def _is_everything(rules: tuple[CompiledRule, ...]) -> bool:
    """Whether nothing is denied, and every verb is allowed on everything by rules without restrictions."""
    if any(rule.effect is Effect.DENY for rule in rules):
        return False
    whole = [rule for rule in rules if rule.whole and "" in rule.prefixes]
    return all(
        any(rule.kind is kind and verb in rule.verbs for rule in whole) for kind in Kind for verb in VERBS_OF[kind]
    )
