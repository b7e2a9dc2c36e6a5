"""The authority of peers on an API server in this process: made, migrated to, lost, damaged, swapped, expired."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.model.actions import PrepareAuthority, SignRequest
from collectionstore_operator.model.observed import Configuration, NodeTls, ShownCertificate
from collectionstore_operator.reconcile import pki
from collectionstore_operator.reconcile.stored_authority import identifiers
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import (
    CLUSTER,
    RECORD,
    SECRETS,
    WORKLOAD,
    World,
    living,
)

CLIENTS = f"{SECRETS}/demo-authority"
PEERS = f"{SECRETS}/demo-peers-authority"
SEPARATE = {"tls": {"authorities": "Separate"}}
YEAR_S = 365 * 86_400


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


def secret(world: World, path: str) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in world.server.objects[path]["data"].items()}


def write(world: World, path: str, key: str, value: bytes) -> None:
    world.server.objects[path]["data"][key] = base64.b64encode(value).decode()


def keys(world: World, name: str) -> tuple[str, ...]:
    """Return the keys that pods trust, by what they mount under this name."""
    return identifiers(world.server.objects[RECORD]["data"].get(name, "").encode())


def member(world: World, *, leaf: str, server: str, peers: tuple[str, ...], clients: tuple[str, ...]) -> None:
    """Have the only member answer, with these certificates on its ports."""

    def shown(key: str) -> ShownCertificate:
        return ShownCertificate(not_before=0, not_after=4e9, authority=key)

    both = tuple(one for one in peers if one in clients)
    tls = NodeTls(peers=shown(leaf), clients=shown(server), trusted=both, peer_trusted=peers, client_trusted=clients)
    configuration = Configuration(index=5, voters=("node-0",))
    world.node(0, state="Member", role="Leader", last_index=5, term=1, configuration=configuration, tls=tls)


async def formed(world: World) -> str:
    """Have a cluster of one with one authority; return its key."""
    await living(world)
    world.stamp(0, world.server.objects[RECORD]["data"]["cluster-id"])
    (key,) = keys(world, "ca.crt")
    member(world, leaf=key, server=key, peers=(key,), clients=(key,))
    await world.rounds(2)
    return key


async def separated(world: World) -> tuple[str, str]:
    """Have a cluster of one that has changed to two authorities; return the keys of clients and of peers."""
    old = await formed(world)
    world.server.objects[CLUSTER]["spec"]["tls"] = dict(SEPARATE["tls"])
    await world.rounds(2)
    _, own = keys(world, "peer-ca.crt")
    member(world, leaf=old, server=old, peers=(old, own), clients=(old,))
    await world.rounds(2)
    member(world, leaf=own, server=old, peers=(own, old), clients=(old,))
    await world.rounds(2)
    member(world, leaf=own, server=old, peers=(own,), clients=(old,))
    await world.rounds(2)
    assert keys(world, "ca.crt") == (old,)
    assert keys(world, "peer-ca.crt") == (own,)
    return old, own


def condition(world: World, kind: str) -> dict[str, Any]:
    (found,) = [one for one in world.server.objects[CLUSTER]["status"]["conditions"] if one["type"] == kind]
    return dict(found)


def variables(world: World) -> dict[str, str]:
    (container,) = world.server.objects[WORKLOAD]["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one.get("value", "") for one in container["env"]}


async def test_new_cluster_has_two_authorities_and_pods_mount_both(world: World) -> None:
    world.create(dict(SEPARATE))
    await world.rounds(3)
    (clients,), (peers,) = keys(world, "ca.crt"), keys(world, "peer-ca.crt")
    assert clients != peers
    assert identifiers(secret(world, PEERS)["tls.crt"]) == (peers,)
    assert pki.issuer_identifier(secret(world, f"{SECRETS}/demo-operator")["tls.crt"]) == clients
    volumes = world.server.objects[WORKLOAD]["spec"]["template"]["spec"]["volumes"]
    (trust,) = [one for one in volumes if one["name"] == "trust"]
    assert [one["key"] for one in trust["configMap"]["items"]] == ["ca.crt", "peer-ca.crt"]
    found = variables(world)
    assert found["COLLECTIONSTORE_TRUST_FILE"].endswith("/peer-ca.crt")
    assert found["COLLECTIONSTORE_CLIENT_TRUST_FILE"].endswith("/ca.crt")
    assert found["COLLECTIONSTORE_CLIENT_TLS_DIR"] == "/var/lib/collectionstore/tls-clients"


async def test_cluster_with_one_authority_has_nothing_of_the_other(world: World) -> None:
    await formed(world)
    assert PEERS not in world.server.objects
    assert "peer-ca.crt" not in world.server.objects[RECORD]["data"]
    assert not {name for name in variables(world) if "TRUST" in name}
    assert not any(world.server.objects[CLUSTER]["status"].get("peerAuthority", {}).values())


async def test_running_cluster_changes_in_phases_and_clients_keep_their_authority(world: World) -> None:
    old = await formed(world)
    world.server.objects[CLUSTER]["spec"]["tls"] = dict(SEPARATE["tls"])
    await world.rounds(2)
    first, own = keys(world, "peer-ca.crt")
    assert (first, keys(world, "ca.crt")) == (old, (old,)), "peers trust both, clients nothing new"
    assert secret(world, PEERS)["tls.key"] == secret(world, CLIENTS)["tls.key"], "the one that all trust signs"
    status = world.server.objects[CLUSTER]["status"]["peerAuthority"]
    assert (status["phase"], status["otherKey"]) == ("Trusting", own)
    assert condition(world, "CertificatesReady")["reason"] == "KeyRotationWaits"
    assert "of peers" in condition(world, "CertificatesReady")["message"]

    member(world, leaf=old, server=old, peers=(old, own), clients=(old,))
    await world.rounds(2)
    assert keys(world, "peer-ca.crt") == (own, old)
    assert secret(world, PEERS)["tls.key"] != secret(world, CLIENTS)["tls.key"]
    await world.rounds(2)
    assert keys(world, "peer-ca.crt") == (own, old), "the member shows a certificate of clients' authority still"

    member(world, leaf=own, server=old, peers=(own, old), clients=(old,))
    await world.rounds(2)
    assert keys(world, "peer-ca.crt") == (own,)
    assert keys(world, "ca.crt") == (old,)
    assert world.server.objects[CLUSTER]["status"]["peerAuthority"]["phase"] == "Steady"
    assert secret(world, PEERS)["next.key"] == b""


def damage_key(world: World) -> None:
    write(world, PEERS, "tls.key", b"garbage")


def damage_all(world: World) -> None:
    write(world, PEERS, "tls.key", b"\x00\xff")
    write(world, PEERS, "tls.crt", b"garbage")


def delete(world: World) -> None:
    del world.server.objects[PEERS]


def swap(world: World) -> None:
    """Each Secret has the content of the other one."""
    peers, clients = world.server.objects[PEERS]["data"], world.server.objects[CLIENTS]["data"]
    world.server.objects[PEERS]["data"], world.server.objects[CLIENTS]["data"] = clients, peers


def copy_of_clients(world: World) -> None:
    world.server.objects[PEERS]["data"] = dict(world.server.objects[CLIENTS]["data"])


def of_another_cluster(world: World) -> None:
    pair = pki.make_authority("demo", "other", lifetime_s=YEAR_S, now=1.7e9)
    write(world, PEERS, "tls.crt", pair.certificate_pem)
    write(world, PEERS, "tls.key", pair.key_pem)


@pytest.mark.parametrize("record", ["kept", "lost"])
@pytest.mark.parametrize("harm", [damage_key, damage_all, delete, swap, copy_of_clients, of_another_cluster])
async def test_authority_that_is_lost_is_never_made_anew(world: World, harm: Any, record: str) -> None:
    """Members would refuse what another one signs; also where only they say that they trust it."""
    await separated(world)
    harm(world)
    if record == "lost":
        del world.server.objects[RECORD]["data"]["peer-ca.crt"]
    before = {path: dict(world.server.objects.get(path, {}).get("data", {})) for path in (PEERS, CLIENTS)}
    mounted = world.server.objects[RECORD]["data"].get("peer-ca.crt")
    await world.rounds(4)
    after = {path: dict(world.server.objects.get(path, {}).get("data", {})) for path in (PEERS, CLIENTS)}
    assert after == before
    assert world.server.objects[RECORD]["data"].get("peer-ca.crt") == mounted
    found = condition(world, "RecordsValid")
    assert (found["status"], found["reason"]) == ("False", "AuthorityLost")
    assert "restore it from a backup" in found["message"]


async def test_record_that_was_lost_is_published_again_from_the_secret(world: World) -> None:
    """The member proves whose it is."""
    _, own = await separated(world)
    del world.server.objects[RECORD]["data"]["peer-ca.crt"]
    await world.rounds(2)
    assert keys(world, "peer-ca.crt") == (own,)
    assert condition(world, "RecordsValid")["status"] == "True"


async def test_damaged_certificate_is_made_again_with_its_key(world: World) -> None:
    _, own = await separated(world)
    write(world, PEERS, "tls.crt", b"garbage")
    await world.rounds(2)
    assert identifiers(secret(world, PEERS)["tls.crt"]) == keys(world, "peer-ca.crt") == (own,)
    assert condition(world, "RecordsValid")["status"] == "True"


@pytest.mark.parametrize("which", ["peers", "clients", "both"])
async def test_expired_authority_is_made_again_with_its_key_and_without_the_member(world: World, which: str) -> None:
    old, own = await separated(world)
    cluster_id = world.server.objects[RECORD]["data"]["cluster-id"]
    for path, name in ((PEERS, "peer-ca.crt"), (CLIENTS, "ca.crt")):
        if which in ("both", "peers" if path == PEERS else "clients"):
            key_pem = secret(world, path)["tls.key"]
            ended = pki.make_authority("demo", cluster_id, lifetime_s=1_000, now=1.6e9, key_pem=key_pem)
            write(world, path, "tls.crt", ended.certificate_pem)
            world.server.objects[RECORD]["data"][name] = ended.certificate_pem.decode()
    world.nodes.answers.clear()
    await world.rounds(3)
    assert (keys(world, "ca.crt"), keys(world, "peer-ca.crt")) == ((old,), (own,))
    _, observed = await world.look()
    for found in (observed.authority, observed.peer_authority):
        assert found is not None
        assert found.trusted[0].not_after > observed.now + YEAR_S
    assert (observed.authority_conflict, observed.peer_authority_conflict) == ("", "")


async def test_authority_that_vanished_after_it_was_observed_is_not_made_a_second_time(world: World) -> None:
    old, _ = await separated(world)
    desired, observed = await world.look()
    delete(world)
    action = PrepareAuthority(name="demo", key=old, lifetime_s=YEAR_S, peers=True, reason="x")
    with pytest.raises(ActionRefused, match="peers trust its authority"):
        await world.runtime.execute(action, desired, observed)
    assert PEERS not in world.server.objects


async def test_resource_without_the_field_over_a_cluster_that_has_it_changes_nothing(world: World) -> None:
    """It was deleted, and made again without the field over its volumes."""
    await separated(world)
    template = world.server.objects[WORKLOAD]["spec"]["template"]
    del world.server.objects[CLUSTER]["spec"]["tls"]
    await world.rounds(2)
    assert world.server.objects[WORKLOAD]["spec"]["template"] == template
    found = condition(world, "RecordsValid")
    assert (found["status"], found["reason"]) == ("False", "AuthoritiesContradict")


async def test_purpose_that_changed_after_it_was_observed_is_not_signed(world: World) -> None:
    """Whoever may label a request cannot have the authority of peers sign what was checked for clients."""
    await separated(world)
    desired, observed = await world.look()
    action = SignRequest(request="r", name="demo-0", uid="p0", names=(), lifetime_s=60, peers=True, reason="x")
    body = {
        "metadata": {"name": "r", "labels": {"collectionstore.io/purpose": "clients"}, "resourceVersion": "1"},
        "spec": {
            "signerName": "collectionstore.io/node",
            "username": "system:serviceaccount:shop:demo-node",
            "extra": {
                "authentication.kubernetes.io/pod-name": ["demo-0"],
                "authentication.kubernetes.io/pod-uid": ["p0"],
            },
            "request": "",
        },
    }
    world.server.put("/apis/certificates.k8s.io/v1/certificatesigningrequests/r", body)
    with pytest.raises(ActionRefused, match="for another port"):
        await world.runtime.execute(action, desired, observed)
