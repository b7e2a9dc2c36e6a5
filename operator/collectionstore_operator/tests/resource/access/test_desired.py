"""Users and roles as they are written: defaults, and every mistake with what is allowed."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest

from collectionstore_operator.crd.access import RESOURCES
from collectionstore_operator.crd.backups import definition
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource.access.desired import parse_role, parse_user
from collectionstore_operator.resource.desired import parse


def user(name: str = "api", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"clusterName": "demo"} | spec}


def role(*rules: Any, name: str = "orders", **spec: Any) -> dict[str, Any]:
    given = {"clusterName": "demo", "rules": list(rules)} | spec
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": given}


def test_defaults_are_those_that_the_descriptions_say() -> None:
    assert msgspec.to_builtins(parse_user(user()).spec) == {
        "clusterName": "demo",
        "roles": (),
        "credential": "Token",
        "secretName": None,
        "lifetimeSeconds": 2_592_000,
        "overlapSeconds": None,
        "suspended": False,
        "limits": None,
        "deletionPolicy": "Delete",
    }
    assert parse_user(user()).secret == "api-credentials"
    assert parse_user(user()).spec.overlap_s == 3_600
    assert parse_user(user(lifetimeSeconds=600)).spec.overlap_s == 200


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"clusterName": "Demo"}, "spec.clusterName"),
        ({"roles": ["operator"]}, "spec.roles"),
        ({"roles": ["Reader"]}, "spec.roles[0]"),
        ({"roles": ["a", "a"]}, "spec.roles[1]"),
        ({"roles": [f"r{number}" for number in range(17)]}, "spec.roles"),
        ({"credential": "Password"}, "spec.credential"),
        ({"lifetimeSeconds": 1}, "spec.lifetimeSeconds"),
        ({"overlapSeconds": 2_592_000}, "spec.overlapSeconds"),
        ({"lifetimeSeconds": 600, "overlapSeconds": 201}, "spec.overlapSeconds"),
        ({"secretName": "../etc"}, "spec.secretName"),
        ({"limits": {"streams": -1}}, "spec.limits.streams"),
        ({"password": "x"}, "spec.password"),
    ],
)
def test_what_is_wrong_with_a_user_is_named(spec: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidResource) as error:
        parse_user(user(**spec))
    assert [one.path for one in error.value.errors] == [where]
    assert all(one.allowed for one in error.value.errors)


@pytest.mark.parametrize(
    ("rule", "where"),
    [
        ({"verbs": ["read"]}, "spec.rules[0].collections"),
        ({"verbs": [], "collections": ["a"]}, "spec.rules[0].verbs"),
        ({"verbs": ["*", "read"], "collections": ["a"]}, "spec.rules[0].verbs"),
        ({"verbs": ["erase"], "collections": ["a"]}, "spec.rules[0].verbs[0]"),
        ({"verbs": ["read"], "collections": ["A"]}, "spec.rules[0].collections[0]"),
        ({"verbs": ["read"], "collections": ["a**"]}, "spec.rules[0].collections[0]"),
        ({"verbs": ["read"], "buckets": ["a"], "filter": "{}"}, "spec.rules[0].filter"),
        ({"verbs": ["read"], "collections": ["a"], "filter": "[]"}, "spec.rules[0].filter"),
        ({"verbs": ["read"], "collections": ["a"], "filter": "{"}, "spec.rules[0].filter"),
        ({"verbs": ["read"], "collections": ["a"], "filter": "[" * 4_000}, "spec.rules[0].filter"),
        ({"verbs": ["read"], "collections": ["a"], "fields": {}}, "spec.rules[0].fields.show"),
        (
            {"verbs": ["read"], "collections": ["a"], "fields": {"show": ["a"], "hide": ["b"]}},
            "spec.rules[0].fields.show",
        ),
        ({"verbs": ["read"], "collections": ["a"], "cluster": True, "filter": "{}"}, "spec.rules[0].filter"),
        ({"verbs": ["read"], "collections": ["a"], "effect": "allow"}, "spec.rules[0].effect"),
    ],
)
def test_what_is_wrong_with_a_rule_is_named(rule: dict[str, Any], where: str) -> None:
    with pytest.raises(InvalidResource) as error:
        parse_role(role(rule))
    assert [one.path for one in error.value.errors] == [where]


@pytest.mark.parametrize("name", ["anonymous", "operator"])
def test_names_of_users_that_every_cluster_has_are_taken(name: str) -> None:
    with pytest.raises(InvalidResource, match=r"metadata\.name"):
        parse_user(user(name))


@pytest.mark.parametrize("name", ["admin", "reader", "operator"])
def test_names_of_built_in_roles_are_taken(name: str) -> None:
    with pytest.raises(InvalidResource, match=r"metadata\.name"):
        parse_role(role(name=name))


def test_rule_newer_than_a_role_does_not_keep_it_from_being_deleted() -> None:
    given = role({"verbs": ["read"]}, name="admin")
    given["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert parse_role(given).deleting


@pytest.mark.parametrize(
    ("access", "where"),
    [
        ({"mode": "enforced"}, "spec.access.mode"),
        ({"unsafe": {"anonymous": ["operator"]}}, "spec.access.unsafe.anonymous"),
        ({"unsafe": {"anonymous": "admin"}}, "spec.access.unsafe.anonymous"),
        ({"jwtIssuers": [{"name": "a", "issuer": "x", "audiences": ["b"]}]}, "spec.access.jwtIssuers[0].jwksUrl"),
        (
            {"jwtIssuers": [{"name": "a", "issuer": "https://x", "audiences": []}]},
            "spec.access.jwtIssuers[0].audiences",
        ),
        (
            {"jwtIssuers": [{"name": "a", "issuer": "https://x", "audiences": ["b"], "algorithms": ["none"]}]},
            "spec.access.jwtIssuers[0].algorithms[0]",
        ),
        (
            {"jwtIssuers": [{"name": "a", "issuer": "https://x", "audiences": ["b"], "algorithms": ["HS256"]}]},
            "spec.access.jwtIssuers[0].algorithms[0]",
        ),
        (
            {"serviceAccounts": {"rules": [{"namespace": "a", "roles": ["operator"]}]}},
            "spec.access.serviceAccounts.rules[0].roles",
        ),
    ],
)
def test_what_is_wrong_with_the_access_of_a_cluster_is_named(access: dict[str, Any], where: str) -> None:
    resource = {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "demo"},
        "spec": {"access": access},
    }
    with pytest.raises(InvalidResource) as error:
        parse(resource)
    assert [one.path for one in error.value.errors] == [where]


def test_definitions_have_no_defaults_and_bound_everything() -> None:
    """An operator of another version may have other defaults; and the cost of every rule can be estimated."""

    def walk(found: dict[str, Any], path: str) -> None:
        assert "default" not in found, path
        if found.get("type") == "array":
            assert "maxItems" in found, path
        if found.get("type") == "string" and path and not path.startswith((".apiVersion", ".kind", ".metadata")):
            assert "enum" in found or "maxLength" in found, path
        for name, one in found.get("properties", {}).items():
            assert one.get("description") or path == "" or name == "name", f"{path}.{name}"
            walk(one, f"{path}.{name}")
        if "items" in found:
            walk(found["items"], f"{path}[]")

    for resource in RESOURCES:
        body = definition(resource)
        walk(body["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "")
        names = [column["name"] for column in body["spec"]["versions"][0]["additionalPrinterColumns"]]
        assert len(set(names)) == len(names)
        assert all(re.fullmatch(r"[A-Za-z]+", name) for name in names)
