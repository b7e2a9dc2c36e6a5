"""Rounds of users and roles against an API server and a cluster: whatever happens to the operator, the Secret works."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from collectionstore_operator import faults
from collectionstore_operator.kubernetes.api import ApiError, Kind
from collectionstore_operator.planning.access.credential import ORPHAN_S
from collectionstore_operator.tests.kubernetes.access.world import ROLE, SECRETS, USER, World, a_world
from collectionstore_operator.tests.planning.access.scenes import DAY_S, MARK

ROTATE = "collectionstore.io/rotate-credential"
REVOKE = "collectionstore.io/revoke-credential"


class Died(BaseException):
    """The operator was killed."""


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with a_world() as made:
        yield made


def token_of(world: World) -> str:
    return base64.b64decode(world.secret()["data"]["token"]).decode()


async def test_user_from_creation_to_a_secret_that_works(world: World) -> None:
    world.user()
    await world.run()
    assert world.store.users == {"api": {"roles": ("reader",), "description": MARK}}
    held = world.server.objects[USER]["metadata"]
    assert held["finalizers"] == ["collectionstore.io/access"]
    data = {key: base64.b64decode(value).decode() for key, value in world.secret()["data"].items()}
    assert data == {
        "uri": "collectionstore://demo.shop.svc:7400",
        "host": "demo.shop.svc",
        "port": "7400",
        "username": "api",
        "ca.crt": "the authority",
        "token": "cst_t1_secret",
    }
    (owner,) = world.secret()["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("CollectionStoreUser", held["uid"], True)
    assert world.events() == ["PutUser", "IssueCredential"]
    await world.run()
    assert world.condition(USER, "Ready") == ("True", "Established")
    status = world.server.objects[USER]["status"]
    assert (status["secretName"], status["credentialID"]) == ("api-credentials", "t1")


async def test_no_secret_is_in_a_status_an_event_or_an_annotation(world: World) -> None:
    world.user()
    for _ in range(3):
        await world.run()
    others = {path: body for path, body in world.server.objects.items() if not path.startswith(SECRETS)}
    assert "secret" not in json.dumps(others).replace("secretName", "")
    assert "cst_" not in json.dumps(world.secret()["metadata"])


async def test_settled_user_writes_nothing(world: World) -> None:
    world.user()
    for _ in range(3):
        await world.run()
    before = len(world.server.requests)
    outcome = await world.run()
    assert outcome.wait_s == 60
    assert {method for method, _ in world.server.requests[before:]} == {"GET"}


async def test_rotation_writes_the_new_token_before_it_takes_the_former(world: World) -> None:
    world.user(overlapSeconds=600)
    await world.run()
    first = token_of(world)
    world.user(overlapSeconds=600, notes={ROTATE: "monday"})
    await world.run()
    second = token_of(world)
    assert second != first
    assert world.store.accepts(first)
    assert world.store.accepts(second)
    world.now += 599
    await world.run()
    assert world.store.accepts(first)
    world.now += 1
    await world.run()
    assert not world.store.accepts(first)
    await world.run()
    assert world.server.objects[USER]["status"]["formerCredentials"] == 0
    assert "collectionstore.io/former-credentials" not in world.secret()["metadata"]["annotations"]


async def test_leaked_token_is_ended_at_once(world: World) -> None:
    world.user()
    await world.run()
    leaked = token_of(world)
    world.user(notes={REVOKE: "leaked"})
    await world.run()
    await world.run()
    assert not world.store.accepts(leaked)
    assert world.store.accepts(token_of(world))


async def test_token_is_rotated_by_schedule_without_a_moment_in_which_the_secret_does_not_work(world: World) -> None:
    world.user()
    seen = set()
    for _ in range(200):
        await world.run()
        assert world.store.accepts(token_of(world))
        seen.add(token_of(world))
        world.now += DAY_S / 2
    assert len(seen) == 5, "after 20 days each"
    await world.run()
    assert len(world.store.issued) <= 2


async def test_secret_of_another_owner_is_never_touched(world: World) -> None:
    foreign = {
        "kind": "Secret",
        "metadata": {"name": "api-credentials", "namespace": "shop"},
        "data": {"token": "eA=="},
    }
    world.server.put(f"{SECRETS}/api-credentials", foreign)
    before = json.dumps(world.secret())
    world.user()
    await world.run()
    await world.run()
    assert json.dumps(world.secret()) == before
    assert world.condition(USER, "Ready") == ("False", "SecretTaken")
    assert world.store.issued == {}
    world.delete(USER)
    await world.run()
    assert json.dumps(world.secret()) == before


async def test_secret_that_appears_at_the_last_moment_is_not_overwritten_and_its_token_is_revoked(world: World) -> None:
    world.user()

    async def get_in_between(request: web.Request) -> web.StreamResponse | None:
        if request.method == "POST" and request.path == SECRETS:
            world.server.behave = None
            other = {"kind": "Secret", "metadata": {"name": "api-credentials", "namespace": "shop"}, "data": {}}
            world.server.put(f"{SECRETS}/api-credentials", other)
        return None

    world.server.behave = get_in_between
    await world.run()
    assert world.secret()["data"] == {}
    assert world.store.issued == {}, "no token is left that was told to no one"


async def test_secret_that_was_edited_is_made_whole(world: World) -> None:
    world.user()
    await world.run()
    body = world.secret()
    del body["data"]["token"]
    world.server.put(f"{SECRETS}/api-credentials", body)
    await world.run()
    assert world.store.accepts(token_of(world))


async def test_secret_follows_the_authority(world: World) -> None:
    world.user()
    await world.run()
    token = token_of(world)
    world.authorities = "both authorities"
    await world.run()
    assert base64.b64decode(world.secret()["data"]["ca.crt"]) == b"both authorities"
    assert token_of(world) == token


async def test_user_without_a_credential_has_no_secret(world: World) -> None:
    world.user()
    await world.run()
    world.user(credential="None")
    await world.run()
    assert f"{SECRETS}/api-credentials" not in world.server.objects
    assert world.store.issued == {}
    await world.run()
    assert world.condition(USER, "CredentialValid") == ("True", "NotIssued")
    assert world.server.objects[USER]["status"]["secretName"] == ""


async def test_other_name_of_the_secret_is_made_before_the_former_goes(world: World) -> None:
    world.user()
    await world.run()
    await world.run()
    first = token_of(world)
    world.user(secretName="other")
    await world.run()
    assert {"api-credentials", "other"} <= {path.rsplit("/", 1)[1] for path in world.server.objects}
    assert world.store.accepts(first)
    for _ in range(3):
        await world.run()
    assert f"{SECRETS}/api-credentials" not in world.server.objects
    assert world.server.objects[USER]["status"]["secretName"] == "other"


async def test_deletion_takes_the_user_from_the_cluster_first(world: World) -> None:
    world.user()
    await world.run()
    world.delete(USER)
    assert USER in world.server.objects
    assert (await world.run()).done
    assert world.store.users == {}
    assert USER not in world.server.objects
    assert (await world.run()).gone


async def test_deletion_waits_for_a_cluster_that_does_not_answer(world: World) -> None:
    world.user()
    await world.run()
    world.delete(USER)
    world.store.silent = True
    assert not (await world.run()).done
    assert USER in world.server.objects
    world.store.silent = False
    await world.run()
    assert world.store.users == {}


async def test_refusal_is_told_as_long_as_it_lasts_and_once_as_an_event(world: World) -> None:
    world.user(roles=["orders"])
    world.store.refusal = "invalid_access: there is no role 'orders'"
    for _ in range(4):
        await world.run()
    assert world.condition(USER, "Ready") == ("False", "Refused")
    assert "no role 'orders'" in world.server.objects[USER]["status"]["message"]
    assert world.events().count("PutUserFailed") == 1
    world.store.refusal = ""
    await world.run()
    await world.run()
    assert world.condition(USER, "Ready") == ("True", "Established")


async def test_nothing_is_done_without_the_lease(world: World) -> None:
    world.user()
    world.leads = False
    await world.run()
    assert world.store.users == {}
    assert "finalizers" not in world.server.objects[USER]["metadata"]


async def test_role_from_creation_to_deletion(world: World) -> None:
    world.role()
    await world.run(Kind.ROLE)
    await world.run(Kind.ROLE)
    assert world.condition(ROLE, "Ready") == ("True", "Established")
    assert world.store.roles["orders"]["rules"] == ({"verbs": ["read"], "collections": ["orders"]},)
    world.role(rules=[{"verbs": ["write"], "collections": ["orders"]}])
    await world.run(Kind.ROLE)
    assert world.store.roles["orders"]["rules"] == ({"verbs": ["write"], "collections": ["orders"]},)
    world.delete(ROLE)
    world.store.refusal = "role_in_use: the user 'api' names it"
    await world.run(Kind.ROLE)
    await world.run(Kind.ROLE)
    assert "the user 'api' names it" in world.server.objects[ROLE]["status"]["message"]
    world.store.refusal = ""
    await world.run(Kind.ROLE)
    assert world.store.roles == {}
    assert ROLE not in world.server.objects


async def test_invalid_resource_is_told_and_changes_nothing(world: World) -> None:
    world.user(roles=["operator"])
    assert (await world.run()).done
    assert world.condition(USER, "Ready") == ("False", "InvalidSpec")
    assert world.store.users == {}


@pytest.mark.parametrize("seed", range(20))
async def test_operator_that_dies_anywhere_leaves_a_secret_that_works_and_no_token_behind(
    world: World, seed: int
) -> None:
    """Killed at random points, with a fault of the API server now and then: the end is the same, and never a gap."""
    chance = random.Random(seed)
    dead: list[str] = []

    def reach(point: str) -> None:
        if chance.random() < 0.15:
            dead.append(point)
            raise Died(point)

    async def fail(request: web.Request) -> web.StreamResponse | None:
        lost = request.method != "GET" and chance.random() < 0.1
        return web.json_response({"message": "no"}, status=409) if lost else None

    world.user(overlapSeconds=600)
    world.server.behave = fail
    notes: dict[str, str] = {}
    with faults.armed(reach):
        for turn in range(120):
            if turn % 20 == 10:
                notes = {ROTATE: str(turn)}
                world.user(overlapSeconds=600, notes=notes)
            try:
                await world.run(restarted=chance.random() < 0.3)
            except ApiError:
                pass  # the loop waits and goes on
            except Died:
                world.forget()
            if f"{SECRETS}/api-credentials" in world.server.objects:
                assert world.store.accepts(token_of(world)), f"turn {turn} after {dead}"
            world.now += chance.choice([1, 5, 30])
    world.server.behave = None
    for _ in range(6):
        await world.run(restarted=True)
        world.now += max(ORPHAN_S, 600)
    assert dead
    assert world.condition(USER, "Ready") == ("True", "Established")
    assert set(world.store.issued) == {world.secret()["metadata"]["annotations"]["collectionstore.io/credential-id"]}


async def test_two_operators_at_once_leave_one_token_in_the_secret(world: World) -> None:
    """The Leases of two installations do not exclude each other here: the version of the Secret does."""
    world.user()
    await world.run()
    world.user(notes={ROTATE: "x"})
    stolen: list[Any] = []

    async def overtake(request: web.Request) -> web.StreamResponse | None:
        if request.method == "PATCH" and request.path == f"{SECRETS}/api-credentials" and not stolen:
            stolen.append(True)
            world.server.put(f"{SECRETS}/api-credentials", world.secret())  # another one wrote it meanwhile
        return None

    world.server.behave = overtake
    await world.run()
    assert len(world.store.issued) == 1, "the token that could not be written is revoked"
    await world.run()
    assert world.store.accepts(token_of(world))
