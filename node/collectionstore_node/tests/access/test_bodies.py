"""What roles, users and configurations may be: each mistake is refused at its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.access.bodies import INVALID
from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.configuration import (
    ISSUERS_MAX,
    REVOKED_MAX,
    AccessConfiguration,
    parse_configuration,
    roles_named,
)
from collectionstore_node.access.limits import RATE_MAX
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.roles import (
    FIELDS_MAX,
    FILTER_BYTES_MAX,
    FILTERS_BYTES_MAX,
    FILTERS_MAX,
    INHERITED_MAX,
    NAMES_MAX,
    PATTERNS_MAX,
    ROLE_BYTES_MAX,
    RULES_MAX,
    Role,
    parse_role,
)
from collectionstore_node.access.tokens import (
    ID_BYTES,
    SECRET_BYTES,
    digest_of,
    make_token,
    new_secret,
    parse_token,
)
from collectionstore_node.access.users import USER_ROLES_MAX, User, parse_user
from collectionstore_node.errors import InvalidPart

READ = {"verbs": ["read"], "collections": ["a"]}
ISSUER = {"issuer": "https://id.example", "audiences": ["store"]}


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def refused(parse: Any, value: object) -> InvalidPart:
    with pytest.raises(InvalidPart) as caught:
        parse(value if isinstance(value, bytes) else text(value))
    assert caught.value.code == INVALID
    return caught.value


@pytest.mark.parametrize(
    ("pointer", "rule"),
    [
        ("", {"verbs": ["read"]}),
        ("", {"collections": ["a"]}),
        ("/verbs", {"verbs": [], "collections": ["a"]}),
        ("/verbs/0", {"verbs": ["reed"], "collections": ["a"]}),
        ("/verbs/0", {"verbs": [1], "collections": ["a"]}),
        ("/verbs/1", {"verbs": ["read", "read"], "collections": ["a"]}),
        ("/verbs/1", {"verbs": ["read", "*"], "collections": ["a"]}),
        ("/verbs/0", {"verbs": ["create"], "buckets": ["a"]}),
        ("/verbs/0", {"verbs": ["monitor"], "collections": ["a"], "buckets": ["b"]}),
        ("/collections/0", {"verbs": ["read"], "collections": ["A"]}),
        ("/collections/1", {"verbs": ["read"], "collections": ["a", "a*b"]}),
        ("/collections/0", {"verbs": ["read"], "collections": ["_locks"]}),
        ("/buckets/0", {"verbs": ["read"], "buckets": [""]}),
        ("/collections", {"verbs": ["read"], "collections": ["a"] * (NAMES_MAX + 1)}),
        ("/effect", {**READ, "effect": "forbid"}),
        ("", {**READ, "extra": 1}),
        ("/filter", {"verbs": ["read"], "buckets": ["a"], "filter": {}}),
        ("/fields", {**READ, "cluster": True, "fields": {"show": ["a"]}}),
        ("/filter", {**READ, "filter": []}),
        ("/filter/$expr", {**READ, "filter": {"$expr": {"$eq": ["$a", 1]}}}),
        ("/filter/a~1b/$no", {**READ, "filter": {"a/b": {"$no": 1}}}),
        ("/filter/a/$regex", {**READ, "filter": {"a": {"$regex": "("}}}),
        ("/filter", {**READ, "filter": {"a": "x" * FILTER_BYTES_MAX}}),
        ("/filter", {**READ, "filter": {"a": {"$in": [1, 1 << 64]}}}),
        ("/fields", {**READ, "fields": {}}),
        ("/fields", {**READ, "fields": {"show": ["a"], "hide": ["b"]}}),
        ("/fields/show", {**READ, "effect": "deny", "fields": {"show": ["a"]}}),
        ("/fields/hide/1", {**READ, "fields": {"hide": ["a", "a"]}}),
        ("/fields/hide/1", {**READ, "fields": {"hide": ["a", "a.b"]}}),
        ("/fields/show/0", {**READ, "fields": {"show": ["_id"]}}),
        ("/fields/show/1", {**READ, "fields": {"show": ["a", "b..c"]}}),
        ("/fields/show", {**READ, "fields": {"show": [f"f{at}" for at in range(FIELDS_MAX + 1)]}}),
    ],
)
def test_a_rule_is_refused_at_its_mistake(pointer: str, rule: dict[str, Any]) -> None:
    error = refused(parse_role, {"rules": [READ, rule]})
    # msgspec says of an object with a field too few or too many where it is.
    assert error.pointer == f"/rules/1{pointer}"


@pytest.mark.parametrize(
    ("pointer", "given"),
    [
        ("", []),
        ("", "x"),
        ("", b"{"),
        ("", b"\xff"),
        ("", b"[" * 100_000),
        ("", {"rule": []}),
        ("/rules", {"rules": {}}),
        ("/rules", {"rules": [READ] * (RULES_MAX + 1)}),
        (f"/rules/{FILTERS_MAX}/filter", {"rules": [{**READ, "filter": {"a": 1}}] * (FILTERS_MAX + 1)}),
        ("/inherits/0", {"inherits": ["Reader"]}),
        ("/inherits/1", {"inherits": ["reader", "reader"]}),
        ("/inherits", {"inherits": [f"r{at}" for at in range(INHERITED_MAX + 1)]}),
        ("/description", {"description": "x" * 1_025}),
        ("", b" " * (ROLE_BYTES_MAX + 1)),
    ],
)
def test_a_role_is_refused_at_its_mistake(pointer: str, given: object) -> None:
    assert refused(parse_role, given).pointer == pointer


def test_the_patterns_of_a_role_are_bounded_before_they_are_compiled() -> None:
    patterns = [{"a": {"$regex": f"x{at}"}} for at in range(PATTERNS_MAX // 2)]
    rules = [{**READ, "filter": {"$or": patterns}}] * 3
    assert refused(parse_role, {"rules": rules}).pointer == "/rules/2/filter"
    parse_role(text({"rules": rules[:2]}))


def test_the_filters_of_a_role_are_bounded_together() -> None:
    rules = [{**READ, "filter": {"a": "x" * (FILTER_BYTES_MAX - 10)}}] * (FILTERS_BYTES_MAX // FILTER_BYTES_MAX)
    parse_role(text({"rules": rules}))
    assert refused(parse_role, {"rules": [*rules, {**READ, "filter": {"a": "x" * 20}}]}).pointer == "/rules/2/filter"


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 1 << 70), st.floats(allow_nan=False), st.text(max_size=6)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(("rules", "verbs", "collections", "filter", "fields", "show", "mode", "roles", "$or", "a")),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=20,
)


def _mistake(parse: Callable[[bytes], object], body: bytes) -> InvalidPart | None:
    try:
        parse(body)
    except InvalidPart as error:
        return error
    return None


@settings(max_examples=300, deadline=None)
@given(st.one_of(JSON.map(text), st.binary(max_size=64)))
def test_no_body_raises_anything_else(body: bytes) -> None:
    for parse in (parse_role, parse_user, parse_configuration):
        error = _mistake(parse, body)
        assert error is None or (error.code == INVALID and error.pointer[:1] in ("", "/"))


def test_messages_hold_no_value_of_the_body() -> None:
    for parse, given_body in (
        (parse_role, {"rules": [{**READ, "effect": "hunter2"}]}),
        (parse_role, {"rules": [{"verbs": ["hunter2"], "collections": ["a"]}]}),
        (parse_user, {"roles": ["hunter2 "]}),
        (parse_configuration, {"mode": "hunter2"}),
    ):
        assert "hunter2" not in refused(parse, given_body).detail


def test_a_role_is_read_as_it_was_given() -> None:
    role = parse_role(
        text({"rules": [{**READ, "filter": {"n": {"$gte": 2}}, "fields": {"hide": ["pay"]}}], "inherits": ["reader"]})
    )
    (rule,) = role.rules
    assert (rule.filter, rule.fields and rule.fields.hide) == ({"n": {"$gte": 2}}, ("pay",))
    assert role.inherits == ("reader",)
    assert parse_role(b"{}") == Role()


def test_built_in_roles_obey_the_rules_of_others() -> None:
    for role in BUILT_IN.values():
        assert parse_role(msgspec.json.encode(role)) == role


@pytest.mark.parametrize(
    ("pointer", "given"),
    [
        ("/roles", {"roles": "admin"}),
        ("/roles/0", {"roles": ["no role"]}),
        ("/roles", {"roles": [f"r{at}" for at in range(USER_ROLES_MAX + 1)]}),
        ("/disabled", {"disabled": "yes"}),
        ("/limits/streams", {"limits": {"streams": -1}}),
        ("/limits/requests_per_second", {"limits": {"requests_per_second": RATE_MAX + 1}}),
        ("/limits", {"limits": {"documents": 1}}),
        ("", {"password": "x"}),
    ],
)
def test_a_user_is_refused_at_its_mistake(pointer: str, given: object) -> None:
    assert refused(parse_user, given).pointer == pointer


def test_a_user_is_read_as_it_was_given() -> None:
    assert parse_user(b"{}") == User()
    user = parse_user(b'{"roles":["writer"],"disabled":true,"limits":{"streams":3}}')
    assert (user.roles, user.disabled, user.limits and user.limits.streams) == (("writer",), True, 3)


@pytest.mark.parametrize(
    ("pointer", "given"),
    [
        ("", {}),
        ("/mode", {"mode": "enforced"}),
        ("/anonymous_roles/0", {"mode": "Enforced", "anonymous_roles": ["operator"]}),
        ("/jwt", {"mode": "Enforced", "jwt": [ISSUER] * (ISSUERS_MAX + 1)}),
        ("/jwt/1/issuer", {"mode": "Enforced", "jwt": [ISSUER, ISSUER]}),
        ("/jwt/0/audiences", {"mode": "Enforced", "jwt": [{**ISSUER, "audiences": []}]}),
        ("/jwt/0/algorithms/0", {"mode": "Enforced", "jwt": [{**ISSUER, "algorithms": ["none"]}]}),
        ("/jwt/0/algorithms/1", {"mode": "Enforced", "jwt": [{**ISSUER, "algorithms": ["RS256", "HS256"]}]}),
        ("/jwt/0/jwks_url", {"mode": "Enforced", "jwt": [{**ISSUER, "jwks_url": "http://id.example/keys"}]}),
        ("/jwt/0/jwks_file", {"mode": "Enforced", "jwt": [{**ISSUER, "jwks_file": "../../etc/passwd"}]}),
        ("/jwt/0/jwks_file", {"mode": "Enforced", "jwt": [{**ISSUER, "jwks_url": "https://a", "jwks_file": "a"}]}),
        ("/jwt/0/issuer", {"mode": "Enforced", "jwt": [{**ISSUER, "issuer": "accounts"}]}),
        ("/jwt/0/leeway_s", {"mode": "Enforced", "jwt": [{**ISSUER, "leeway_s": 301}]}),
        (
            "/jwt/0/rules/0/roles/0",
            {
                "mode": "Enforced",
                "jwt": [{**ISSUER, "rules": [{"claim": "g", "values": ["x"], "roles": ["operator"]}]}],
            },
        ),
        (
            "/jwt/0/rules/0/values",
            {"mode": "Enforced", "jwt": [{**ISSUER, "rules": [{"claim": "g", "values": []}]}]},
        ),
        ("/service_accounts/audiences", {"mode": "Enforced", "service_accounts": {"audiences": []}}),
        (
            "/service_accounts/rules/0/user",
            {
                "mode": "Enforced",
                "service_accounts": {"audiences": ["a"], "rules": [{"namespace": "n", "user": "anonymous"}]},
            },
        ),
        ("/session_s", {"mode": "Enforced", "session_s": 59}),
        ("/revoked_certificates/0", {"mode": "Enforced", "revoked_certificates": ["0A"]}),
        ("/revoked_certificates", {"mode": "Enforced", "revoked_certificates": ["a"] * (REVOKED_MAX + 1)}),
    ],
)
def test_a_configuration_is_refused_at_its_mistake(pointer: str, given: object) -> None:
    assert refused(parse_configuration, given).pointer == pointer


def test_a_configuration_says_which_roles_it_names() -> None:
    given = parse_configuration(
        text(
            {
                "mode": "Permissive",
                "anonymous_roles": ["reader"],
                "jwt": [{**ISSUER, "rules": [{"claim": "groups", "values": ["a"], "roles": ["x", "y"]}]}],
                "service_accounts": {"audiences": ["s"], "rules": [{"namespace": "n", "roles": ["z"]}]},
            }
        )
    )
    assert given.mode is Mode.PERMISSIVE
    assert roles_named(given) == [
        ("reader", "/anonymous_roles/0"),
        ("x", "/jwt/0/rules/0/roles/0"),
        ("y", "/jwt/0/rules/0/roles/1"),
        ("z", "/service_accounts/rules/0/roles/0"),
    ]
    assert parse_configuration(b'{"mode":"Disabled"}') == AccessConfiguration(mode=Mode.DISABLED)


def test_a_token_is_found_by_its_id_and_known_by_its_secret() -> None:
    made = make_token(bytes(range(ID_BYTES)), bytes(range(SECRET_BYTES)))
    given_token = parse_token(made.text)
    assert given_token is not None
    assert (given_token.id, given_token.digest) == (made.id, made.digest)
    other = new_secret(made.id, bytes(SECRET_BYTES))
    assert other.id == made.id
    assert other.digest != made.digest
    assert digest_of(made.text.rpartition(f"{made.id}_")[2]) == made.digest


@pytest.mark.parametrize(
    "shown", ["", "cst_", "cst_0001020304050607_", "cst_00_" + "a" * 43, "cst_0001020304050607_" + "a" * 300, "x" * 99]
)
def test_what_is_no_token_is_none(shown: str) -> None:
    assert parse_token(shown) is None
