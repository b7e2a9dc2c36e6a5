"""The operator has the rights that it needs, and no other: each verb is taken away, and it is missed.

At its start it names what is missing and exits. And what users and backups ask of the API server is granted: without
any one of the verbs they use, their rounds do not come to their end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import pytest
from aiohttp import web

from collectionstore_operator.errors import OperatorError
from collectionstore_operator.kubernetes.api import Kind, Kube
from collectionstore_operator.kubernetes.api.permissions import OWN, PERMISSIONS, Permission, binding, missing
from collectionstore_operator.tests.kubernetes.access import world as access
from collectionstore_operator.tests.kubernetes.backups import world as backups
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer, status
from collectionstore_operator.tests.kubernetes.test_client import Clock

BINDING: Final = "members"
GRANTED: Final = (*PERMISSIONS, *OWN, *binding(BINDING))
VERBS: Final = {"GET": "get", "POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}


class Right(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    verb: str


def rights(permissions: tuple[Permission, ...]) -> list[Right]:
    return [Right(one.group, one.resource, verb) for one in permissions for verb in one.verbs]


def needed(method: str, path: str) -> Right:
    """Return what RBAC asks for a request. Source: Kubernetes docs, "Authorization", request attributes."""
    parts = path.strip("/").split("/")
    group = "" if parts[0] == "api" else parts[1]
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[0] == "namespaces" and len(rest) > 2:
        rest = rest[2:]
    resource = "/".join([rest[0], *rest[2:]])
    verb = "list" if method == "GET" and len(rest) == 1 else VERBS[method]
    return Right(group, resource, verb)


def test_requests_are_read_as_rbac_reads_them() -> None:
    user = "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstoreusers"
    assert needed("GET", user) == ("collectionstore.io", "collectionstoreusers", "list")
    assert needed("PATCH", f"{user}/a/status") == ("collectionstore.io", "collectionstoreusers/status", "patch")
    assert needed("GET", "/api/v1/namespaces/shop") == ("", "namespaces", "get")
    assert needed("POST", "/api/v1/namespaces/shop/secrets") == ("", "secrets", "create")


def test_nothing_is_granted_twice_and_nothing_by_a_star() -> None:
    everything = rights(PERMISSIONS)
    assert len(set(everything)) == len(everything)
    assert not [one for one in everything if "*" in one]


def test_secrets_are_named_and_never_listed() -> None:
    """A list or watch of them would read those of everybody in the namespace."""
    assert {one.verb for one in rights(PERMISSIONS) if one.resource == "secrets"} == {
        "get",
        "create",
        "patch",
        "delete",
    }


def test_operator_may_not_grant_rights_nor_act_as_others() -> None:
    forbidden = {"bind", "escalate", "impersonate", "deletecollection"}
    assert not [one for one in rights(GRANTED) if one.verb in forbidden]
    roles = [one for one in rights(PERMISSIONS) if one.group == "rbac.authorization.k8s.io"]
    assert roles == []


@pytest.mark.parametrize("taken", sorted(set(rights(GRANTED))), ids=lambda one: f"{one.verb}-{one.resource}")
async def test_verb_that_is_taken_away_is_named_at_the_start(taken: Right) -> None:
    asked: list[Right] = []

    async def review(request: web.Request) -> web.StreamResponse | None:
        attributes = (await request.json())["spec"]["resourceAttributes"]
        resource = "/".join(filter(None, (attributes["resource"], attributes.get("subresource"))))
        right = Right(attributes["group"], resource, attributes["verb"])
        asked.append(right)
        return web.json_response({"status": {"allowed": right != taken}})

    server, clock = FakeApiServer(), Clock()
    server.behave = review
    async with await server.start() as client:
        kube = Kube(client, clock=clock.time, sleep=clock.sleep)
        found = await missing(kube, namespaces=["shop"], own_namespace="ops", enrolment_binding=BINDING)
    await server.stop()
    assert set(asked) == set(rights(GRANTED)), "every verb is asked for"
    named = f"{taken.verb} {taken.resource}{f'.{taken.group}' if taken.group else ''}"
    assert found
    assert all(line.startswith(named) for line in found)


def guarded(
    server: FakeApiServer, allowed: Callable[[Right], bool]
) -> tuple[list[Right], Callable[[web.Request], Any]]:
    """Let a server refuse what is not allowed; return what was asked for."""
    asked: list[Right] = []
    before = server.behave

    async def guard(request: web.Request) -> web.StreamResponse | None:
        right = needed(request.method, request.path)
        asked.append(right)
        if not allowed(right):
            return status(403, "Forbidden", f"{right.verb} {right.resource} is forbidden")
        return await before(request) if before is not None else None

    server.behave = guard
    return asked, guard


async def life_of_a_user(world: access.World) -> bool:
    """Make, rotate and delete a user and a role; return whether all of it came to its end."""
    world.user(overlapSeconds=0)
    world.role()
    for _ in range(3):
        await world.run()
        await world.run(Kind.ROLE)
    made = world.condition(access.USER, "Ready")[0] == "True" and world.condition(access.ROLE, "Ready")[0] == "True"
    first = world.store.count
    world.user(overlapSeconds=0, notes={"collectionstore.io/rotate-credential": "x"})
    for _ in range(4):
        await world.run()
    rotated = world.store.count == first + 1 and len(world.store.issued) == 1
    world.user(credential="None")
    for _ in range(3):
        await world.run()
    gone = f"{access.SECRETS}/api-credentials" not in world.server.objects
    told = bool(world.events())
    for path in (access.USER, access.ROLE):
        world.delete(path)
    for _ in range(2):
        await world.run()
        await world.run(Kind.ROLE)
    left = {access.USER, access.ROLE} & set(world.server.objects)
    return made and rotated and gone and told and not left


@asynccontextmanager
async def restricted(taken: Right | None) -> AsyncIterator[tuple[access.World, list[Right]]]:
    async with access.a_world() as world:
        granted = set(rights(GRANTED)) - {taken}
        asked, _ = guarded(world.server, lambda right: right in granted)
        yield world, asked


async def test_users_and_roles_need_no_more_than_is_granted() -> None:
    async with restricted(None) as (world, asked):
        assert await life_of_a_user(world)
        assert set(asked) <= set(rights(GRANTED))


NEEDED: Final = (
    Right("collectionstore.io", "collectionstoreclusters", "get"),
    Right("collectionstore.io", "collectionstoreusers", "get"),
    Right("collectionstore.io", "collectionstoreusers", "patch"),
    Right("collectionstore.io", "collectionstoreusers/status", "patch"),
    Right("collectionstore.io", "collectionstoreroles", "get"),
    Right("collectionstore.io", "collectionstoreroles", "patch"),
    Right("collectionstore.io", "collectionstoreroles/status", "patch"),
    Right("", "namespaces", "get"),
    Right("", "secrets", "get"),
    Right("", "secrets", "create"),
    Right("", "secrets", "patch"),
    Right("", "secrets", "delete"),
    Right("events.k8s.io", "events", "create"),
)


@pytest.mark.parametrize("taken", NEEDED, ids=lambda one: f"{one.verb}-{one.resource}")
async def test_users_and_roles_miss_each_verb_that_is_taken_away(taken: Right) -> None:
    async with restricted(taken) as (world, _):
        try:
            done = await life_of_a_user(world)
        except (OperatorError, KeyError, StopIteration):
            return  # a round failed, or there is no status to look at
        assert not done


async def test_the_verbs_above_are_all_that_users_and_roles_use() -> None:
    async with restricted(None) as (world, asked):
        await life_of_a_user(world)
        assert set(asked) == set(NEEDED)


async def test_backups_need_no_more_than_is_granted() -> None:
    async with backups.a_world() as world:
        granted = set(rights(GRANTED))
        asked, _ = guarded(world.server, lambda right: right in granted)
        world.backup()
        await world.run_backup()
        world.schedule(archive=True)
        await world.run_schedule()
        await world.run_schedule()
        assert set(asked) <= granted
        assert Right("batch", "jobs", "create") in asked
