"""Recovery on Kubernetes: its record is one write with a precondition, and the survivor's claim is adopted once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from collectionstore_operator.errors import ActionRefused, InvariantViolated
from collectionstore_operator.kubernetes import volumes
from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.claims import read_claim
from collectionstore_operator.kubernetes.record import Record
from collectionstore_operator.manifests import statefulset
from collectionstore_operator.model import recovery as recoveries
from collectionstore_operator.model.actions import AdoptVolume, EstablishIdentity, RecordRecovery
from collectionstore_operator.model.observed import Volume
from collectionstore_operator.model.recovery import RecoveryPhase, RecoveryRecord
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer

DESIRED = Desired(name="demo", namespace="shop", uid="u1")
CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data-demo-2"
RECORD = "/api/v1/namespaces/shop/configmaps/demo-record"
FIRST = RecoveryRecord(
    nonce="a" * 32,
    phase=RecoveryPhase.STOPPING,
    survivor="demo-2",
    ordinal=2,
    node_id="c" * 16,
    volume_uid="claim-2",
    from_cluster="old",
    cluster_id="new",
)
ADOPT = AdoptVolume(ordinal=2, name="demo-2", uid="claim-2", from_cluster="old", cluster_id="new", reason="x")


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    await server.stop()


@pytest.fixture
async def kube(server: FakeApiServer) -> AsyncIterator[Kube]:
    async with await server.start() as client:
        yield Kube(client)


@pytest.fixture
async def record(kube: Kube) -> Record:
    made = Record(kube)
    await made.establish(EstablishIdentity(cluster_id="old", reason="x"), DESIRED)
    return made


def phase(found: RecoveryPhase, before: RecoveryPhase | None) -> RecordRecovery:
    return RecordRecovery(record=msgspec.structs.replace(FIRST, phase=found), before=before, reason="x")


FORWARD = [
    phase(RecoveryPhase.STOPPING, None),
    phase(RecoveryPhase.SETTING_ASIDE, RecoveryPhase.STOPPING),
    phase(RecoveryPhase.FORMING, RecoveryPhase.SETTING_ASIDE),
    phase(RecoveryPhase.FINISHED, RecoveryPhase.FORMING),
]


async def test_the_cluster_id_changes_with_the_phase_that_forms_the_new_one(
    server: FakeApiServer, record: Record
) -> None:
    seen = []
    for action in FORWARD:
        await record.advance(action, DESIRED)
        await record.advance(action, DESIRED)  # the answer to the first attempt was lost
        data = server.objects[RECORD]["data"]
        found = recoveries.read(data["recovery"])
        assert found == action.record
        seen.append(data["cluster-id"])
    assert seen == ["old", "old", "new", "new"]


async def test_no_phase_is_skipped_and_none_is_gone_back_to(record: Record) -> None:
    for done, action in enumerate(FORWARD):
        for other in FORWARD[done + 1 :]:
            with pytest.raises(ActionRefused, match="has changed since it was observed"):
                await record.advance(other, DESIRED)
        await record.advance(action, DESIRED)
        for other in FORWARD[:done]:
            with pytest.raises(ActionRefused, match="has changed since it was observed"):
                await record.advance(other, DESIRED)


async def test_a_recovery_that_is_under_way_is_not_replaced_by_another(record: Record) -> None:
    await record.advance(FORWARD[0], DESIRED)
    other = msgspec.structs.replace(FIRST, nonce="b" * 32, survivor="demo-1", node_id="d" * 16)
    with pytest.raises(ActionRefused):
        await record.advance(RecordRecovery(record=other, before=None, reason="x"), DESIRED)
    swapped = msgspec.structs.replace(FORWARD[1].record, node_id="d" * 16)
    with pytest.raises(ActionRefused):
        await record.advance(RecordRecovery(record=swapped, before=RecoveryPhase.STOPPING, reason="x"), DESIRED)


async def test_a_recovery_of_another_cluster_is_not_recorded(record: Record) -> None:
    other = msgspec.structs.replace(FIRST, from_cluster="else")
    with pytest.raises(ActionRefused):
        await record.advance(RecordRecovery(record=other, before=None, reason="x"), DESIRED)


def claim(server: FakeApiServer, *, stamp: str = "old", uid: str = "claim-2", **metadata: str) -> None:
    annotations = {labels.CLUSTER_ID: stamp, labels.NODE_ID: "c" * 16}
    server.put(
        CLAIM,
        {
            "metadata": {"name": "data-demo-2", "uid": uid, "annotations": annotations, **metadata},
            "spec": {"volumeName": "pv"},
        },
    )


async def test_the_claim_of_the_survivor_becomes_one_of_the_new_cluster(server: FakeApiServer, kube: Kube) -> None:
    claim(server)
    await volumes.adopt(kube, ADOPT, DESIRED)
    await volumes.adopt(kube, ADOPT, DESIRED)
    found = server.objects[CLAIM]
    assert found["metadata"]["annotations"][labels.CLUSTER_ID] == "new"
    assert labels.NODE_ID not in found["metadata"]["annotations"]
    assert isinstance(read_claim(found, None, "new"), Volume)


async def test_another_claim_is_not_adopted(server: FakeApiServer, kube: Kube) -> None:
    for wrong in ({"uid": "claim-9"}, {"stamp": "third"}, {"stamp": ""}, {"deletionTimestamp": "x"}):
        claim(server, **wrong)
        before = server.objects[CLAIM]["metadata"]["annotations"].copy()
        with pytest.raises(ActionRefused):
            await volumes.adopt(kube, ADOPT, DESIRED)
        assert server.objects[CLAIM]["metadata"]["annotations"] == before


def test_a_claim_without_its_volume_is_lost() -> None:
    body = {"metadata": {"name": "data-demo-2", "uid": "u"}, "spec": {"volumeName": "pv"}, "status": {"phase": "Lost"}}
    found = read_claim(body, None, "old")
    assert isinstance(found, Volume)
    assert found.lost


def test_pods_are_told_only_while_the_new_cluster_forms_and_the_revision_does_not_change() -> None:
    """An instruction in the template, or its removal, must not restart a member."""
    for action in FORWARD:
        told = recoveries.instruction(action.record)
        built = statefulset.build(DESIRED, cluster_id="new", replicas=3, recover=told)
        container = built.body["spec"]["template"]["spec"]["containers"][0]
        found = [one["value"] for one in container["env"] if one["name"] == "COLLECTIONSTORE_RECOVER"]
        forming = action.record.phase is RecoveryPhase.FORMING
        assert found == ([f"demo-2/{'c' * 16}/old/{'a' * 32}"] if forming else [])
        plain = statefulset.build(DESIRED, cluster_id="new", replicas=3)
        assert built.body["spec"]["template"]["metadata"] == plain.body["spec"]["template"]["metadata"]


def test_a_record_is_read_as_it_was_written() -> None:
    assert recoveries.read(recoveries.written(FIRST)) == FIRST
    assert recoveries.read("") is None


def test_a_record_that_cannot_be_read_is_never_taken_for_none() -> None:
    with pytest.raises(InvariantViolated, match="cannot be read"):
        recoveries.read('{"phase": "Forming"}')
