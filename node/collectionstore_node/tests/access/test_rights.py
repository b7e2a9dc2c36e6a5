"""The evaluator against a slow, obvious reference, and rule by rule."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.access.builtin import BUILT_IN, OPERATOR
from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.policy import Policy
from collectionstore_node.access.rights import KEPT_MAX, Rights
from collectionstore_node.access.roles import Role, parse_role
from collectionstore_node.access.users import User
from collectionstore_node.access.verbs import VERBS_OF, Kind, Verb
from collectionstore_node.documents.filters import compile_filter, parse_filter
from collectionstore_node.tests.access import reference

COLLECTIONS = ("a", "ab", "abc", "b", "b-1")
FILTERS: tuple[dict[str, Any], ...] = ({"n": {"$gt": 1}}, {"s": "x"}, {"o.p": {"$exists": True}}, {"l": 2}, {})
FIELDS = ("n", "s", "o", "o.p", "o.q", "l", "l.m")


def role(**given: Any) -> Role:
    return parse_role(json.dumps(given).encode())


def rights(*rules: dict[str, Any], mode: Mode = Mode.ENFORCED) -> Rights:
    policy = Policy({"r": role(rules=list(rules))}, lambda name: None, mode=mode, revision=7)
    return policy.rights(Caller("ada", Method.TOKEN, ("r",)))


@st.composite
def fields(draw: st.DrawFn, *, deny: bool) -> dict[str, list[str]]:
    given = draw(st.lists(st.sampled_from(FIELDS), min_size=1, max_size=3, unique=True))
    # One field within another is refused.
    named = [one for one in given if not any(one != other and one.startswith(f"{other}.") for other in given)]
    return {"hide" if deny or draw(st.booleans()) else "show": named}


@st.composite
def rules(draw: st.DrawFn) -> dict[str, Any]:
    kinds = draw(st.sets(st.sampled_from(Kind), min_size=1))
    rule: dict[str, Any] = {}
    if Kind.COLLECTION in kinds:
        rule["collections"] = draw(
            st.lists(st.sampled_from((*COLLECTIONS, "a*", "b*", "*")), min_size=1, max_size=2, unique=True)
        )
    if Kind.BUCKET in kinds:
        rule["buckets"] = draw(st.lists(st.sampled_from(("k", "k*", "*")), min_size=1, max_size=2, unique=True))
    if Kind.CLUSTER in kinds:
        rule["cluster"] = True
    allowed = sorted({verb.value for kind in kinds for verb in VERBS_OF[kind]})
    verbs = st.lists(st.sampled_from(allowed), min_size=1, max_size=3, unique=True)
    rule["verbs"] = draw(st.one_of(st.just(["*"]), verbs))
    rule["effect"] = draw(st.sampled_from(("allow", "allow", "deny")))
    if kinds == {Kind.COLLECTION}:
        if draw(st.booleans()):
            rule["filter"] = draw(st.sampled_from(FILTERS))
        if draw(st.booleans()):
            rule["fields"] = draw(fields(deny=rule["effect"] == "deny"))
    return rule


LEAF = st.sampled_from((0, 1, 2, 3, "x", "y", None, True, 1.5))
OBJECT = st.dictionaries(st.sampled_from(("p", "q", "m")), st.one_of(LEAF, st.dictionaries(st.just("m"), LEAF)))
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "n": LEAF,
        "s": LEAF,
        "o": st.one_of(LEAF, OBJECT),
        # Objects only, or values only: of an array with both, hidden elements are left out and others move up.
        "l": st.one_of(st.lists(LEAF, max_size=3), st.lists(OBJECT, max_size=3)),
    },
)


@st.composite
def policies(draw: st.DrawFn) -> tuple[dict[str, Role], list[str]]:
    """Roles, of which later ones may inherit earlier ones, and those that a caller has."""
    made: dict[str, Role] = {}
    for name in ("r1", "r2", "r3"):
        inherits = draw(st.lists(st.sampled_from(sorted(made)), max_size=2, unique=True)) if made else []
        made[name] = role(rules=draw(st.lists(rules(), max_size=4)), inherits=inherits)
    named = draw(st.lists(st.sampled_from((*made, "reader", "monitor", "nowhere")), max_size=3, unique=True))
    return made, named


@settings(max_examples=300, deadline=None)
@given(policies(), st.lists(DOCUMENTS, max_size=4))
def test_the_evaluator_agrees_with_the_reference(
    given_policy: tuple[dict[str, Role], list[str]], documents: list[dict[str, Any]]
) -> None:
    roles, named = given_policy
    policy = Policy(roles, lambda name: User(tuple(named[:1])), mode=Mode.ENFORCED, revision=7)
    compiled = policy.rights(Caller("ada", Method.TOKEN, tuple(named[1:])))
    all_rules = [rule for one in reference.closure(named, roles | BUILT_IN) for rule in one.rules]
    for kind in Kind:
        names = {Kind.COLLECTION: COLLECTIONS, Kind.BUCKET: ("k", "k1", "x"), Kind.CLUSTER: ("",)}[kind]
        for verb in Verb:
            for name in names:
                assert compiled.allows(verb, kind, name) is reference.allows(all_rules, verb, kind, name), (verb, name)
    for verb in (Verb.READ, Verb.WRITE):
        for name in COLLECTIONS:
            view = compiled.view(name, verb)
            for document in documents:
                seen = document if view is None else view.shown(document)
                there = reference.visible(all_rules, verb, name, document)
                assert (seen is not None) is there
                assert view is None or view.allows(document) is there
                if seen is not None:
                    assert reference.leaves(seen) == reference.shown_leaves(all_rules, verb, name, document)


@settings(max_examples=200, deadline=None)
@given(policies(), DOCUMENTS)
def test_the_filter_of_a_view_matches_the_documents_that_it_lets_through(
    given_policy: tuple[dict[str, Role], list[str]], document: dict[str, Any]
) -> None:
    roles, named = given_policy
    policy = Policy(roles, lambda name: None, mode=Mode.ENFORCED, revision=7)
    compiled = policy.rights(Caller("ada", Method.TOKEN, tuple(named)))
    for name in COLLECTIONS:
        view = compiled.view(name)
        if view is not None and compiled.allows(Verb.READ, Kind.COLLECTION, name):
            there = view.node is None or compile_filter(view.node)(document)
            assert view.allows(document) is there


def test_a_deny_goes_before_every_allow() -> None:
    found = rights(
        {"verbs": ["*"], "collections": ["*"]},
        {"effect": "deny", "verbs": ["read"], "collections": ["secret-*"]},
    )
    assert found.allows(Verb.READ, Kind.COLLECTION, "open")
    assert not found.allows(Verb.READ, Kind.COLLECTION, "secret-plans")
    assert found.allows(Verb.WRITE, Kind.COLLECTION, "secret-plans")
    assert not found.unrestricted


def test_nothing_is_allowed_that_no_rule_names() -> None:
    found = rights({"verbs": ["read"], "collections": ["a"]})
    assert not found.allows(Verb.READ, Kind.COLLECTION, "ab")
    assert not found.allows(Verb.READ, Kind.BUCKET, "a")
    assert not found.allows(Verb.WRITE, Kind.COLLECTION, "a")
    assert not found.allows(Verb.READ, Kind.CLUSTER, "")
    view = found.view("ab")
    assert view is not None
    assert view.shown({"n": 1}) is None
    assert view.filter is not None
    assert not compile_filter(parse_filter(view.filter))({"n": 1})


def test_two_rules_show_each_document_what_the_matching_ones_show() -> None:
    found = rights(
        {"verbs": ["read"], "collections": ["a"], "filter": {"n": 1}, "fields": {"show": ["n"]}},
        {"verbs": ["read"], "collections": ["a"], "filter": {"s": "x"}, "fields": {"hide": ["o.p"]}},
        {"effect": "deny", "verbs": ["read"], "collections": ["a"], "filter": {"hot": True}},
        {"effect": "deny", "verbs": ["read"], "collections": ["a"], "fields": {"hide": ["pay"]}},
    )
    view = found.view("a")
    assert view is not None
    assert view.shown({"n": 1, "t": 2, "pay": 9}) == {"n": 1}
    assert view.shown({"s": "x", "t": 2, "o": {"p": 1, "q": 2}, "pay": 9}) == {"s": "x", "t": 2, "o": {"q": 2}}
    # Not what the second shows of other documents.
    assert view.shown({"n": 1, "s": "y", "o": {"p": 1}}) == {"n": 1}
    assert view.shown({"n": 1, "s": "x", "hot": True}) is None
    assert view.shown({"n": 2}) is None


def test_a_pattern_that_takes_too_long_hides_the_document() -> None:
    pattern = {"s": {"$regex": "[ab]*a[ab]{900}"}}
    long = {"s": "a" * 300_000}
    allowed = rights({"verbs": ["read"], "collections": ["a"], "filter": pattern}).view("a")
    denied = rights(
        {"verbs": ["read"], "collections": ["a"]},
        {"effect": "deny", "verbs": ["read"], "collections": ["a"], "filter": pattern},
    ).view("a")
    assert allowed is not None
    assert denied is not None
    assert allowed.shown(long) is None
    assert denied.shown(long) is None
    assert denied.shown({"s": "b"}) == {"s": "b"}


def test_a_write_keeps_the_fields_that_are_not_the_callers() -> None:
    view = rights({"verbs": ["write"], "collections": ["a"], "fields": {"hide": ["pay", "o.p"]}}).view("a", Verb.WRITE)
    assert view is not None
    before = {"n": 1, "pay": 5, "o": {"p": 1, "q": 1}}
    assert view.keeps(before, {"n": 2, "pay": 5, "o": {"p": 1, "q": 9}, "new": True})
    assert not view.keeps(before, {"n": 2, "pay": 6, "o": {"p": 1}})
    assert not view.keeps(before, {"n": 2, "o": {"p": 1}})
    assert not view.keeps(before, {"n": 1, "pay": 5})
    assert view.keeps({}, {"n": 1})
    assert not view.keeps({}, {"pay": 1})
    for other in (True, 5.0, "5", None):
        assert not view.keeps({"pay": 5}, {"pay": other})
    assert not view.keeps({"pay": 1}, {"pay": True})


def test_a_write_may_add_elements_of_which_all_is_shown() -> None:
    view = rights({"verbs": ["write"], "collections": ["a"], "fields": {"hide": ["l.pay"]}}).view("a", Verb.WRITE)
    assert view is not None
    before = {"l": [{"n": 1, "pay": 5}, {"n": 2}]}
    assert view.keeps(before, {"l": [{"n": 9, "pay": 5}, {"n": 2}, {"n": 3}, 4]})
    assert view.keeps(before, {"l": [{"pay": 5}]})
    assert not view.keeps(before, {"l": [{"n": 2}, {"n": 1, "pay": 5}]})
    assert not view.keeps(before, {"l": [{"n": 1, "pay": 5}, {"n": 2, "pay": 1}]})
    assert not view.keeps(before, {"l": []})


WHOLE = st.fixed_dictionaries(
    {},
    optional={
        "n": LEAF,
        "s": LEAF,
        "o": st.one_of(LEAF, st.dictionaries(st.sampled_from(("p", "q")), LEAF, min_size=1)),
        "l": st.dictionaries(st.sampled_from(("m", "k")), LEAF, min_size=1),
    },
)


@settings(max_examples=200, deadline=None)
@given(st.data(), WHOLE, WHOLE)
def test_a_write_is_kept_to_the_fields_that_are_shown(
    data: st.DataObject, before: dict[str, Any], after: dict[str, Any]
) -> None:
    given_rules: list[dict[str, Any]] = []
    for deny in (False, False, True):
        if deny and data.draw(st.booleans()):
            continue
        effect = "deny" if deny else "allow"
        mask = data.draw(fields(deny=deny))
        given_rules.append({"verbs": ["write"], "collections": ["a"], "effect": effect, "fields": mask})
    parsed = list(role(rules=given_rules).rules)
    view = rights(*given_rules).view("a", Verb.WRITE)
    assert view is not None
    leaves = [reference.leaves(one) for one in (before, after)]
    shown = [reference.shown_leaves(parsed, Verb.WRITE, "a", one) for one in (before, after)]
    hidden = [
        {path: value for path, value in all_of.items() if path not in seen}
        for all_of, seen in zip(leaves, shown, strict=True)
    ]
    assert view.keeps(before, after) is (
        repr(sorted(hidden[0].items(), key=repr)) == repr(sorted(hidden[1].items(), key=repr))
    )


def test_the_operators_certificate_is_not_bound_by_a_record() -> None:
    roles = {"none": role(rules=[{"effect": "deny", "verbs": ["*"], "cluster": True}])}
    policy = Policy(roles, lambda name: User(("none",), disabled=True), mode=Mode.ENFORCED, revision=7)
    operator = policy.rights(Caller("demo-operator", Method.CERTIFICATE, (OPERATOR,)))
    assert operator.allows(Verb.ADMIN, Kind.CLUSTER, "")
    assert not operator.allows(Verb.READ, Kind.COLLECTION, "a")
    other = policy.rights(Caller("demo-operator", Method.CERTIFICATE, ("admin",)))
    assert not other.allows(Verb.ADMIN, Kind.CLUSTER, "")


@pytest.mark.parametrize("mode", [Mode.PERMISSIVE, Mode.ENFORCED])
def test_a_caller_that_is_not_known_may_do_nothing(mode: Mode) -> None:
    policy = Policy({}, lambda name: None, mode=mode, revision=0)
    for caller in (None, Caller("ada", Method.JWT), Caller("ada", Method.JWT, ("nowhere",))):
        found = policy.rights(caller)
        assert not any(found.allows(verb, kind, "a") for verb in Verb for kind in Kind)


def test_everything_is_allowed_while_access_control_is_off() -> None:
    policy = Policy({}, lambda name: None, mode=Mode.DISABLED, revision=0)
    assert policy.rights(None).unrestricted
    assert policy.rights(Caller("ada", Method.TOKEN)).unrestricted
    assert policy.rights(None).view("a") is None


def test_anonymous_requests_have_the_roles_of_the_configuration_and_of_no_record() -> None:
    policy = Policy({}, lambda name: User(("admin",)), mode=Mode.ENFORCED, revision=1, anonymous_roles=("reader",))
    found = policy.rights(Caller("anonymous", Method.ANONYMOUS))
    assert found.allows(Verb.READ, Kind.COLLECTION, "a")
    assert not found.allows(Verb.WRITE, Kind.COLLECTION, "a")
    assert policy.rights(Caller("anonymous", Method.JWT)).unrestricted


def test_admin_is_unrestricted_unless_something_is_denied() -> None:
    everything = {"verbs": ["*"], "collections": ["*"], "buckets": ["*"], "cluster": True}
    assert rights(everything).unrestricted
    assert not rights(everything, {"effect": "deny", "verbs": ["drop"], "collections": ["a"]}).unrestricted
    assert not rights({**everything, "cluster": False}).unrestricted
    assert not rights(
        {"verbs": ["*"], "collections": ["*"], "filter": {"n": 1}}, everything | {"collections": []}
    ).unrestricted
    assert not rights({**everything, "collections": ["a*"]}).unrestricted


def test_what_rights_remember_is_bounded() -> None:
    found = rights({"verbs": ["read"], "collections": ["a*"]})
    for number in range(3 * KEPT_MAX):
        assert found.allows(Verb.READ, Kind.COLLECTION, f"a{number}")
        found.view(f"b{number}")
    assert len(found._allowed) <= KEPT_MAX
    assert len(found._views) <= KEPT_MAX


def test_callers_with_the_same_roles_share_what_is_compiled() -> None:
    users = {name: User(("reader",)) for name in ("ada", "bob")}
    policy = Policy({}, users.get, mode=Mode.ENFORCED, revision=1)
    one, other = (policy.rights(Caller(name, Method.PASSWORD)) for name in users)
    assert one is other
    assert policy.rights(Caller("eve", Method.PASSWORD)) is not one
