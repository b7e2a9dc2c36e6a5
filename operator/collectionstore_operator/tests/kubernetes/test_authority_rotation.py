"""The authority's key is rotated on an API server in this process, by operators that end after any action."""

from __future__ import annotations

import base64
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.model.actions import PromoteAuthority, RetireAuthority
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Configuration, NodeTls, RotationPhase, ShownCertificate
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.reconcile import pki
from collectionstore_operator.reconcile.stored_authority import identifiers
from collectionstore_operator.resource import labels
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, RECORD, SECRETS, World, living

AUTHORITY = f"{SECRETS}/demo-authority"
OWN = f"{SECRETS}/demo-operator"
YEAR_S = 365 * 86_400


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


def secret(world: World, path: str) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in world.server.objects[path]["data"].items()}


def published(world: World) -> tuple[str, ...]:
    """Return the keys that pods trust, by what they mount."""
    return identifiers(world.server.objects[RECORD]["data"]["ca.crt"].encode())


def member(world: World, *, leaf: str, trusted: tuple[str, ...]) -> None:
    """Have the only member answer, with these certificates."""
    shown = ShownCertificate(not_before=0, not_after=4e9, authority=leaf)
    configuration = Configuration(index=5, voters=("node-0",))
    tls = NodeTls(peers=shown, clients=shown, trusted=trusted)
    world.node(0, state="Member", role="Leader", last_index=5, term=1, configuration=configuration, tls=tls)


async def formed(world: World) -> str:
    """Have a cluster of one that reports its certificates; return the key of its authority."""
    await living(world)
    world.stamp(0, world.server.objects[RECORD]["data"]["cluster-id"])
    (key,) = published(world)
    member(world, leaf=key, trusted=(key,))
    await world.rounds(2)
    return key


def ask(world: World, value: str = "now") -> None:
    """Annotate the resource, as a user does."""
    world.server.objects[CLUSTER]["metadata"]["annotations"] = {labels.ROTATE_AUTHORITY: value}


async def acts(world: World, count: int) -> int:
    """Perform the first `count` actions of a round, and end; return how many there were."""
    desired, observed = await world.look()
    actions = plan(assess(desired, observed)).actions
    for action in actions[:count]:
        await world.runtime.execute(action, desired, observed)
    return len(actions)


async def phase(world: World) -> RotationPhase:
    _, observed = await world.look()
    assert observed.authority is not None
    return observed.authority.phase


def reachable(world: World, leaf: str, trusted: tuple[str, ...]) -> None:
    """Check that member and operator trust each other, and that the member trusts itself."""
    assert leaf in trusted
    assert pki.issuer_identifier(secret(world, OWN)["tls.crt"]) in trusted
    assert leaf in identifiers(secret(world, AUTHORITY)["tls.crt"])


@pytest.mark.parametrize("actions_of_each", [1, 2, 99])
async def test_rotation_goes_on_with_the_next_operator_after_any_action(world: World, actions_of_each: int) -> None:
    old = await formed(world)
    ask(world)
    leaf, trusted = old, published(world)
    for _ in range(40):
        await acts(world, actions_of_each)
        reachable(world, leaf, trusted)
        trusted = published(world)
        reachable(world, leaf, trusted)
        if leaf != trusted[0] and trusted[0] == identifiers(secret(world, AUTHORITY)["tls.crt"])[0]:
            leaf = trusted[0]
        reachable(world, leaf, trusted)
        member(world, leaf=leaf, trusted=trusted)
    assert await phase(world) is RotationPhase.STEADY
    (new,) = published(world)
    assert new != old
    assert leaf == new
    assert pki.issuer_identifier(secret(world, OWN)["tls.crt"]) == new
    assert secret(world, AUTHORITY)["next.key"] == b""
    writes = dict(world.server.objects[AUTHORITY]["metadata"])
    await world.rounds(2)
    assert world.server.objects[AUTHORITY]["metadata"] == writes
    assert await phase(world) is RotationPhase.STEADY


async def test_rotation_waits_for_the_member_and_says_so(world: World) -> None:
    old = await formed(world)
    ask(world)
    await world.rounds(3)
    assert await phase(world) is RotationPhase.TRUSTING
    assert published(world)[0] == old
    plan_of: list[dict[str, Any]] = world.server.objects[CLUSTER]["status"]["plan"]
    (step,) = [one for one in plan_of if one["step"] == "PromoteAuthority"]
    assert "demo-0 does not trust both yet" in step["blockedBy"]
    status = world.server.objects[CLUSTER]["status"]["authority"]
    assert (status["phase"], status["key"], status["otherKey"]) == ("Trusting", old, published(world)[1])


async def test_key_that_was_not_published_does_not_sign(world: World) -> None:
    """The record was taken back meanwhile; what was observed before does not count."""
    old = await formed(world)
    ask(world)
    await world.rounds(2)
    both = published(world)
    member(world, leaf=old, trusted=both)
    desired, observed = await world.look()
    one = world.server.objects[RECORD]["data"]["ca.crt"]
    world.server.objects[RECORD]["data"]["ca.crt"] = one[: one.index("-----END CERTIFICATE-----") + 26]
    action = PromoteAuthority(key=both[1], reason="x")
    with pytest.raises(ActionRefused, match="is not published"):
        await world.runtime.execute(action, desired, observed)
    with pytest.raises(ActionRefused, match="is to sign next"):
        await world.runtime.execute(RetireAuthority(key=both[1], reason="x"), desired, observed)
    assert identifiers(secret(world, AUTHORITY)["tls.crt"]) == both


async def test_expired_authority_is_made_again_with_its_key_and_without_the_member(world: World) -> None:
    """Operator and members were down for longer than it lived: nothing that they hold can open a connection."""
    key = await formed(world)
    world.nodes.answers.clear()
    stored = secret(world, AUTHORITY)
    cluster_id = world.server.objects[RECORD]["data"]["cluster-id"]
    now = 1_600_000_000.0
    ended = pki.make_authority("demo", cluster_id, lifetime_s=1_000, now=now, key_pem=stored["tls.key"])
    world.server.objects[AUTHORITY]["data"]["tls.crt"] = base64.b64encode(ended.certificate_pem).decode()
    world.server.objects[RECORD]["data"]["ca.crt"] = ended.certificate_pem.decode()
    await world.rounds(2)
    renewed = secret(world, AUTHORITY)["tls.crt"]
    assert identifiers(renewed) == (key,)
    assert published(world) == (key,)
    assert world.server.objects[RECORD]["data"]["ca.crt"].encode() == renewed
    _, observed = await world.look()
    assert observed.authority is not None
    assert observed.authority.trusted[0].not_after > observed.now + YEAR_S
    assert observed.authority_conflict == ""


@pytest.mark.parametrize("lives", [3, 5, 10])
async def test_authority_with_an_old_key_is_written_once(world: World, lives: int) -> None:
    """Its key is older than many lives of a certificate: the renewed one is left alone while the member is away."""
    await formed(world)
    world.nodes.answers.clear()
    life_s = 7_200
    tls = {"certificateLifetimeSeconds": 120, "authorityLifetimeSeconds": life_s}
    world.server.objects[CLUSTER]["spec"]["tls"] = tls
    key_pem, cluster_id = secret(world, AUTHORITY)["tls.key"], world.server.objects[RECORD]["data"]["cluster-id"]
    then = time.time() - lives * life_s
    ended = pki.make_authority("demo", cluster_id, lifetime_s=life_s, now=then, key_pem=key_pem)
    world.server.objects[AUTHORITY]["data"]["tls.crt"] = base64.b64encode(ended.certificate_pem).decode()
    world.server.objects[RECORD]["data"]["ca.crt"] = ended.certificate_pem.decode()
    await world.rounds(2)
    renewed = secret(world, AUTHORITY)["tls.crt"]
    assert renewed != ended.certificate_pem
    await world.rounds(4)
    assert secret(world, AUTHORITY)["tls.crt"] == renewed
    assert world.server.objects[RECORD]["data"]["ca.crt"].encode() == renewed
    conditions = world.server.objects[CLUSTER]["status"]["conditions"]
    (found,) = [one for one in conditions if one["type"] == "CertificatesReady"]
    assert found["status"] == "True", found
