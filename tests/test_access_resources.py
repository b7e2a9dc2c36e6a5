"""What the operator puts into a cluster is what the members take, and what they answer is not put again."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.configuration import AccessConfiguration, parse_configuration
from collectionstore_node.access.roles import parse_role
from collectionstore_node.access.users import User, parse_user
from collectionstore_node.access.verbs import Verb
from collectionstore_node.api.handlers.access import _complete
from collectionstore_operator.model.access import wanted
from collectionstore_operator.model.access.configuration import canonical, configuration
from collectionstore_operator.model.access.store import StoreRole, StoreUser
from collectionstore_operator.resource import access_specs
from collectionstore_operator.resource.access import desired, names
from collectionstore_operator.resource.access_control import Access

RULE: dict[str, Any] = {"namespace": "shop", "roles": ["writer"]}
ISSUER: dict[str, Any] = {"name": "company", "issuer": "https://login.example.org", "audiences": ["store"]}


def shown(given: AccessConfiguration) -> dict[str, Any]:
    """Return what `GET /api/v1/access` says."""
    fields = {name: _complete(getattr(given, name)) for name in given.__struct_fields__}
    answer = {**fields, "configured": True, "users": 1, "revision": 9}
    return dict(msgspec.json.decode(msgspec.json.encode(answer)))


@pytest.mark.parametrize(
    "access",
    [
        {},
        {"mode": "Permissive"},
        {"mode": "Disabled", "unsafe": {}},
        {"unsafe": {"anonymous": ["admin", "reader"]}},
        {"serviceAccounts": {}},
        {"serviceAccounts": {"audience": "x", "rules": [RULE, {**RULE, "name": "api", "user": "app", "roles": []}]}},
        {"jwtIssuers": [ISSUER]},
        {
            "jwtIssuers": [
                {
                    **ISSUER,
                    "issuer": "internal",
                    "jwksUrl": "https://login.example.org/keys",
                    "algorithms": ["EdDSA"],
                    "leewaySeconds": 0,
                    "keysMaxAgeSeconds": 60,
                    "userClaim": "email",
                    "rules": [{"claim": "groups", "values": ["*"], "roles": ["admin"]}],
                }
            ]
        },
        {"limits": {"streams": 3}},
        {"limits": {}, "sessionSeconds": 60, "revokedCertificates": ["5a", "0"]},
    ],
)
def test_configuration_is_taken_and_what_is_answered_is_the_same(access: dict[str, Any]) -> None:
    """Else the operator would put it again in each round, and each time would be a change for every member."""
    config = canonical(configuration(msgspec.convert(access, Access)))
    assert canonical(shown(parse_configuration(config.encode()))) == config


def user(**spec: Any) -> desired.User:
    metadata = {"name": "api", "namespace": "shop", "uid": "u"}
    return desired.parse_user({"metadata": metadata, "spec": {"clusterName": "demo"} | spec})


def role(*rules: dict[str, Any], **spec: Any) -> desired.Role:
    metadata = {"name": "orders", "namespace": "shop", "uid": "r"}
    return desired.parse_role({"metadata": metadata, "spec": {"clusterName": "demo", "rules": list(rules)} | spec})


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"roles": ["reader", "backup"], "suspended": True},
        {"limits": {"requestsPerSecond": 1, "bytesPerSecond": 2, "streams": 3}},
        {"limits": {}},
    ],
)
def test_user_is_taken_and_what_is_answered_is_the_same(spec: dict[str, Any]) -> None:
    given = user(**spec)
    taken: User = parse_user(msgspec.json.encode(wanted.wanted_user(given)))
    limits = None if taken.limits is None else msgspec.structs.asdict(taken.limits)
    answer = {"name": "api", "roles": taken.roles, "disabled": taken.disabled, "description": taken.description}
    found = msgspec.json.decode(msgspec.json.encode({**answer, "limits": limits, "revision": 3}), type=StoreUser)
    assert not wanted.is_user_taken(given, found)
    assert not wanted.user_differs(given, found)


@pytest.mark.parametrize(
    "rule",
    [
        {"verbs": ["*"], "collections": ["*"], "buckets": ["a-*"], "cluster": True},
        {"verbs": ["read"], "collections": ["orders"], "filter": '{"a": {"$gt": 1}, "b": []}'},
        {"verbs": ["read"], "collections": ["orders"], "filter": "{}", "fields": {"show": ["a.b"]}},
        {"effect": "Deny", "verbs": ["write", "drop"], "collections": ["orders"]},
        {"verbs": ["monitor"], "cluster": True},
    ],
)
def test_role_is_taken_and_what_is_answered_is_the_same(rule: dict[str, Any]) -> None:
    given = role(rule, inherits=["reader"])
    body = msgspec.json.encode(wanted.wanted_role(given))
    parse_role(body)
    told = msgspec.json.decode(body)
    answer = {"name": "orders", "built_in": False, "revision": 3, "inherits": [], "rules": [], **told}
    found = msgspec.json.decode(msgspec.json.encode(answer), type=StoreRole)
    assert not wanted.is_role_taken(given, found)
    assert not wanted.role_differs(given, found)


def test_vocabulary_is_the_same() -> None:
    assert set(names.BUILT_IN_ROLES) == set(BUILT_IN)
    assert set(get_args(access_specs.Verb)) == {*map(str, Verb), "*"}
