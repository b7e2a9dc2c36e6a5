"""Records, keys, labels and claims edited under a living cluster, on an API server in this process."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes import volumes
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.trust import Stored, judge
from collectionstore_operator.model.actions import RetireVolume, SetReclaimPolicy
from collectionstore_operator.model.observed import CertificateKind, Configuration, Pod, Unknown, Volume
from collectionstore_operator.reconcile.pki import KeyPair, key_identifier, make_authority, make_leaf
from collectionstore_operator.reconcile.stored_authority import StoredAuthority, identifiers, prepared, promoted
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer
from collectionstore_operator.tests.kubernetes.test_client import Clock
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, RECORD, SECRETS, WORKLOAD, World, living

POD = "/api/v1/namespaces/shop/pods/demo-0"
CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data-demo-0"
VOLUME = "/api/v1/persistentvolumes/pv-0"
NOW = 1_767_225_600.0


@pytest.fixture
async def world() -> AsyncIterator[World]:
    server, clock = FakeApiServer(), Clock()
    async with await server.start() as client:
        yield World(server, Kube(client, clock=clock.time, sleep=clock.sleep))
    await server.stop()


def condition(world: World, kind: str) -> str:
    """Return status and reason of a condition as published."""
    found = {one["type"]: one for one in world.server.objects[CLUSTER]["status"]["conditions"]}
    return f"{found[kind]['status']} {found[kind]['reason']}"


def steps(world: World) -> dict[str, str]:
    """Return what blocks each step of the published plan."""
    return {one["step"]: one.get("blockedBy", "") for one in world.server.objects[CLUSTER]["status"]["plan"]}


# The record


async def formed(world: World) -> None:
    """Have a cluster whose only voter so far responds."""
    await living(world)
    configuration = Configuration(index=5, voters=("node-0",))
    world.node(0, state="Member", role="Leader", last_index=5, term=1, configuration=configuration)
    world.stamp(0, world.server.objects[RECORD]["data"]["cluster-id"])
    await world.rounds(1)


async def test_damaged_trust_anchor_is_published_again(world: World) -> None:
    await formed(world)
    before = world.server.objects[RECORD]["data"]["ca.crt"]
    world.server.objects[RECORD]["data"]["ca.crt"] = "garbage"
    await world.rounds(1)
    assert world.server.objects[RECORD]["data"]["ca.crt"] == before
    assert condition(world, "RecordsValid") == "False Restoring"
    await world.rounds(1)
    assert condition(world, "RecordsValid") == "True AllValid"


async def test_overwritten_cluster_id_is_restored_from_the_members(world: World) -> None:
    """The status goes on being written, with the ID that it has."""
    await formed(world)
    before = dict(world.server.objects[RECORD]["data"])
    world.server.objects[RECORD]["data"]["cluster-id"] = "beef"
    await world.rounds(1)
    assert world.server.objects[RECORD]["data"] == before
    assert world.server.objects[CLUSTER]["status"]["clusterID"] == before["cluster-id"]
    assert condition(world, "Available") == "True QuorumWorks"


async def test_cluster_id_that_nothing_proves_stops_all_changes_and_is_reported(world: World) -> None:
    await formed(world)
    world.server.objects[RECORD]["data"]["cluster-id"] = "beef"
    world.nodes.answers.clear()
    world.stamp(0, "cafe")
    writes = world.server.objects[WORKLOAD]
    world.server.objects[CLUSTER]["spec"]["replicas"] = 5
    await world.rounds(2)
    assert world.server.objects[RECORD]["data"]["cluster-id"] == "beef"
    assert world.server.objects[WORKLOAD] == writes
    assert condition(world, "RecordsValid") == "False IdentityUnproven"
    assert "too few members respond" in steps(world)["EnsureWorkload"]


# The keys


async def test_lost_authority_is_reported_and_not_made_anew(world: World) -> None:
    """Members are asked with what the record trusts, so that the cluster is still observed."""
    await formed(world)
    secret = world.server.objects.pop(f"{SECRETS}/demo-authority")
    anchor = world.server.objects[RECORD]["data"]["ca.crt"]
    await world.rounds(2)
    assert f"{SECRETS}/demo-authority" not in world.server.objects
    assert world.server.objects[RECORD]["data"]["ca.crt"] == anchor
    assert condition(world, "RecordsValid") == "False AuthorityLost"
    assert "restore it from a backup" in steps(world)["IssueCertificate"]
    world.server.put(f"{SECRETS}/demo-authority", secret)
    await world.rounds(1)
    assert condition(world, "RecordsValid") == "True AllValid"


async def test_damaged_certificates_are_made_again_with_the_key_that_members_trust(world: World) -> None:
    await formed(world)
    for name in ("demo-authority", "demo-operator"):
        world.server.objects[f"{SECRETS}/{name}"]["data"]["tls.crt"] = base64.b64encode(b"garbage").decode()
    key = world.server.objects[f"{SECRETS}/demo-authority"]["data"]["tls.key"]
    assert (await world.rounds(2))[0] == "Acted"
    assert world.server.objects[f"{SECRETS}/demo-authority"]["data"]["tls.key"] == key
    assert condition(world, "RecordsValid") == "True AllValid"
    pem = base64.b64decode(world.server.objects[f"{SECRETS}/demo-authority"]["data"]["tls.crt"]).decode()
    assert world.server.objects[RECORD]["data"]["ca.crt"] == pem


def authority(cluster_id: str = "c1") -> KeyPair:
    return make_authority("demo", cluster_id, lifetime_s=1_000, now=NOW)


def leaf(signer: KeyPair) -> KeyPair:
    return make_leaf(signer, kind=CertificateKind.OPERATOR, name="operator", names=(), lifetime_s=100, now=NOW)


def stored(pair: KeyPair) -> StoredAuthority:
    return StoredAuthority(pair.certificate_pem, pair.key_pem)


OUR_PAIR, THEIR_PAIR = authority(), authority("c2")
OURS, THEIRS = stored(OUR_PAIR), stored(THEIR_PAIR)
GARBAGE = b"-----BEGIN CERTIFICATE-----\n"
DAMAGED_CERTIFICATE = StoredAuthority(GARBAGE, OURS.key_pem)
DAMAGED_KEY = StoredAuthority(OURS.bundle_pem, GARBAGE)
ANCHOR = OURS.bundle_pem.decode()
FOLLOWING = prepared(OURS, "demo", "c1", key=key_identifier(OURS.bundle_pem), lifetime_s=1_000, request="", now=NOW)
PROMOTED = promoted(FOLLOWING, key=identifiers(FOLLOWING.bundle_pem)[1], request="")
SWITCHED = leaf(KeyPair(PROMOTED.bundle_pem, PROMOTED.key_pem))


@pytest.mark.parametrize(
    ("stored", "has_data", "used", "conflict"),
    [
        (Stored(OURS, leaf(OUR_PAIR), ANCHOR), True, OURS, ""),
        (Stored(OURS, leaf(OUR_PAIR), "garbage"), True, OURS, ""),
        (Stored(OURS, leaf(OUR_PAIR), THEIRS.bundle_pem.decode()), True, OURS, ""),
        (Stored(OURS, None, ANCHOR), True, OURS, ""),
        (Stored(None, None, ""), False, None, ""),
        (Stored(OURS, None, ""), False, OURS, ""),
        (Stored(DAMAGED_CERTIFICATE, leaf(OUR_PAIR), "garbage"), True, None, ""),
        (Stored(DAMAGED_CERTIFICATE, None, ANCHOR), True, None, ""),
        (Stored(FOLLOWING, leaf(OUR_PAIR), ANCHOR), True, FOLLOWING, ""),
        (Stored(PROMOTED, leaf(OUR_PAIR), FOLLOWING.bundle_pem.decode()), True, PROMOTED, ""),
        (Stored(PROMOTED, SWITCHED, FOLLOWING.bundle_pem.decode()), True, PROMOTED, ""),
        (Stored(PROMOTED, None, FOLLOWING.bundle_pem.decode()), True, PROMOTED, ""),
        (Stored(PROMOTED, None, ANCHOR), True, None, "another authority"),
        (Stored(OURS, SWITCHED, ANCHOR), True, None, "another authority"),
        (Stored(None, leaf(OUR_PAIR), ANCHOR), True, None, "is missing"),
        (Stored(None, None, ANCHOR), True, None, "is missing"),
        (Stored(None, leaf(OUR_PAIR), ""), True, None, "is missing"),
        (Stored(DAMAGED_KEY, leaf(OUR_PAIR), ANCHOR), True, None, "cannot be read"),
        (Stored(THEIRS, leaf(OUR_PAIR), ANCHOR), True, None, "another authority"),
        (Stored(THEIRS, leaf(OUR_PAIR), "garbage"), True, None, "another authority"),
        (Stored(THEIRS, None, ANCHOR), True, None, "another authority"),
        (Stored(DAMAGED_CERTIFICATE, None, "garbage"), True, None, "nothing proves"),
    ],
)
def test_authority_is_used_only_if_members_trust_it(
    stored: Stored, used: StoredAuthority | None, conflict: str, *, has_data: bool
) -> None:
    trust = judge(stored, secret="demo-authority", has_data=has_data)
    assert trust.authority is used
    assert conflict in trust.conflict if conflict else not trust.conflict


# Labels


async def test_pod_and_claim_without_labels_are_found_and_labelled_again(world: World) -> None:
    """A selector does not find them; the pod was released by its controller, and is known from the status."""
    await formed(world)
    found = {path: world.server.objects[path] for path in (POD, CLAIM)}
    for body in found.values():
        body["metadata"]["labels"] = {"mine": "stays"}

    real = world.kube.find_all

    async def by_selector(kind: Any, namespace: Any = None, selector: Any = None, **further: Any) -> list[Any]:
        every = await real(kind, namespace, selector, **further)
        return [
            one
            for one in every
            if all(one["metadata"].get("labels", {}).get(k) == v for k, v in (selector or {}).items())
        ]

    world.kube.find_all = by_selector  # type: ignore[method-assign]
    _, observed = await world.look()
    slot = observed.slot(0)
    assert isinstance(slot.pod, Pod)
    assert isinstance(slot.volume, Volume)
    assert not slot.pod.labelled
    assert not slot.volume.labelled
    await world.rounds(1)
    for path in (POD, CLAIM):
        kept = world.server.objects[path]["metadata"]["labels"]
        assert kept == {**labels.object_labels("demo"), "mine": "stays"}
    assert condition(world, "Available") == "True QuorumWorks"


async def test_pod_of_somebody_else_with_our_name_is_not_touched(world: World) -> None:
    world.create()
    await world.rounds(2)
    world.pod(0)
    metadata = world.server.objects[POD]["metadata"]
    metadata["labels"] = {}
    metadata["ownerReferences"] = [{"kind": "Job", "name": "demo", "uid": "j1", "controller": True}]
    _, observed = await world.look()
    assert observed.slot(0).pod == Unknown("the Pod demo-0 belongs to the Job demo")
    await world.rounds(1)
    assert world.server.objects[POD]["metadata"]["labels"] == {}


# Volumes


def volume(world: World, policy: str = "Delete") -> None:
    """Have the PersistentVolume of the claim of member 0."""
    uid = world.server.objects[CLAIM]["metadata"]["uid"]
    spec = {"persistentVolumeReclaimPolicy": policy, "claimRef": {"name": "data-demo-0", "uid": uid}}
    world.server.put(VOLUME, {"metadata": {"name": "pv-0"}, "spec": spec})


async def test_volume_is_retained_as_soon_as_it_is_bound_and_says_whose_it_is(world: World) -> None:
    await formed(world)
    volume(world)
    await world.rounds(1)
    stored = world.server.objects[VOLUME]
    assert stored["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert stored["metadata"]["annotations"] == {
        labels.CLAIM: "data-demo-0",
        labels.CLUSTER_ID: world.server.objects[RECORD]["data"]["cluster-id"],
        labels.CREATED_POLICY: "Delete",
    }
    assert stored["metadata"]["labels"] == {labels.CLUSTER: "demo", labels.NAMESPACE: "shop"}
    found = world.server.objects[CLUSTER]
    world.server.put(CLUSTER, {**found, "spec": {"storage": {"retention": "Delete"}}})
    await world.rounds(1)
    assert world.server.objects[VOLUME]["spec"]["persistentVolumeReclaimPolicy"] == "Delete"


async def test_policy_of_a_volume_of_another_claim_is_not_changed(world: World) -> None:
    await formed(world)
    volume(world)
    world.server.objects[VOLUME]["spec"]["claimRef"]["uid"] = "another"
    action = SetReclaimPolicy(ordinal=0, name="data-demo-0", volume="pv-0", policy="Retain", reason="x")
    with pytest.raises(ActionRefused, match="is not bound to the volume pv-0 any more"):
        await volumes.set_reclaim_policy(world.kube, action, Desired(name="demo", namespace="shop"))


async def test_volume_of_a_claim_that_somebody_deleted_is_retained_before_its_pod_is_stopped(world: World) -> None:
    await formed(world)
    volume(world)
    world.server.objects[CLAIM]["metadata"]["deletionTimestamp"] = "x"
    action = RetireVolume(ordinal=0, name="data-demo-0", uid="p0", reason="x")
    await volumes.retire(world.kube, action, Desired(name="demo", namespace="shop"))
    assert world.server.objects[VOLUME]["spec"]["persistentVolumeReclaimPolicy"] == "Retain"
    assert POD not in world.server.objects
    assert CLAIM in world.server.objects


async def test_protected_deletion_keeps_the_volumes_after_the_protection_is_removed(world: World) -> None:
    world.create({"deletionProtection": True, "storage": {"retention": "Delete"}})
    await world.rounds(2)
    world.pod(0)
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    await world.rounds(1)
    assert world.server.objects[RECORD]["data"]["protected-deletion"] == "u1"
    found = world.server.objects[CLUSTER]
    world.server.put(CLUSTER, {**found, "spec": {"storage": {"retention": "Delete"}}})
    await world.rounds(1)
    world.server.objects.pop(POD, None)
    assert (await world.rounds(2))[-1] == "Gone"
    assert {CLAIM, RECORD, f"{SECRETS}/demo-authority"} <= world.server.objects.keys()
