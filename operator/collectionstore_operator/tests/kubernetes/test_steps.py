"""Actions on Kubernetes: each is idempotent, and none acts on another object than it was planned for."""

from __future__ import annotations

import base64
import copy
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from collectionstore_operator import manifests
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.kubernetes import volumes
from collectionstore_operator.kubernetes.api import Conflict, Kube
from collectionstore_operator.kubernetes.authority import Authority
from collectionstore_operator.kubernetes.certificate_requests import account
from collectionstore_operator.kubernetes.children import Children, read_workload
from collectionstore_operator.kubernetes.record import Record
from collectionstore_operator.manifests import statefulset
from collectionstore_operator.model.actions import (
    ApplyObject,
    DeleteObject,
    DenyRequest,
    EnsureWorkload,
    EstablishIdentity,
    IssueCertificate,
    MarkVolume,
    RetireVolume,
    SignRequest,
    StampVolume,
)
from collectionstore_operator.model.observed import ABSENT, CertificateKind, RotationPhase, Unknown, Workload
from collectionstore_operator.planning import certificates
from collectionstore_operator.reconcile.pki import KeyPair, make_authority, sign_request
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Spec, Storage
from collectionstore_operator.tests.kubernetes.fake_api_server import FakeApiServer

DESIRED = Desired(name="demo", namespace="shop", uid="u1")
NOW = 1_767_225_600.0
CLAIM = "/api/v1/namespaces/shop/persistentvolumeclaims/data-demo-1"
POD = "/api/v1/namespaces/shop/pods/demo-1"
VOLUME = "/api/v1/persistentvolumes/pv-1"
WORKLOAD = "/apis/apps/v1/namespaces/shop/statefulsets/demo"
REQUEST = "/apis/certificates.k8s.io/v1/certificatesigningrequests/csr-1"
RECORD = "/api/v1/namespaces/shop/configmaps/demo-record"


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    server = FakeApiServer()
    yield server
    await server.stop()


@pytest.fixture
async def kube(server: FakeApiServer) -> AsyncIterator[Kube]:
    async with await server.start() as client:
        yield Kube(client)


def disk(server: FakeApiServer, node_id: str = "n1") -> None:
    """Create a pod on a bound claim."""
    metadata = {"name": "data-demo-1", "uid": "claim-1", "annotations": {labels.NODE_ID: node_id}}
    server.put(CLAIM, {"metadata": metadata, "spec": {"volumeName": "pv-1"}})
    bound = {"persistentVolumeReclaimPolicy": "Delete", "claimRef": {"name": "data-demo-1", "uid": "claim-1"}}
    server.put(VOLUME, {"metadata": {"name": "pv-1"}, "spec": bound})
    server.put(POD, {"metadata": {"name": "demo-1", "uid": "p1"}})


async def test_marked_volume_names_the_removed_node(server: FakeApiServer, kube: Kube) -> None:
    disk(server)
    action = MarkVolume(ordinal=1, name="data-demo-1", node_id="n1", reason="x")
    await volumes.mark(kube, action, DESIRED)
    await volumes.mark(kube, action, DESIRED)
    assert server.objects[CLAIM]["metadata"]["annotations"][labels.REMOVED] == "n1"


async def test_volume_of_another_incarnation_is_not_marked(server: FakeApiServer, kube: Kube) -> None:
    disk(server, "n2")
    with pytest.raises(ActionRefused, match="holds n2, not n1"):
        await volumes.mark(kube, MarkVolume(ordinal=1, name="data-demo-1", node_id="n1", reason="x"), DESIRED)
    assert labels.REMOVED not in server.objects[CLAIM]["metadata"]["annotations"]


@pytest.mark.parametrize(("keep", "policy"), [(True, "Retain"), (False, "Delete")])
async def test_claim_is_deleted_before_its_pod(server: FakeApiServer, kube: Kube, *, keep: bool, policy: str) -> None:
    """Otherwise a new pod would get the old volume."""
    disk(server)
    action = RetireVolume(ordinal=1, name="data-demo-1", uid="p1", node_id="n1", keep=keep, reason="x")
    await volumes.retire(kube, action, DESIRED)
    assert server.objects.keys() == {VOLUME}
    assert server.objects[VOLUME]["spec"]["persistentVolumeReclaimPolicy"] == policy
    changes = [path for method, path in server.requests if method in ("PATCH", "DELETE")]
    assert changes == ([VOLUME] if keep else []) + [CLAIM, POD]
    for (method, _), body in zip(server.requests, server.bodies, strict=True):
        assert method != "DELETE" or body["preconditions"]["uid"]
    await volumes.retire(kube, action, DESIRED)


async def test_volume_that_is_bound_to_another_claim_is_not_changed(server: FakeApiServer, kube: Kube) -> None:
    """`volumeName` is written by whoever creates the claim; only the volume says whose it is."""
    disk(server)
    server.objects[VOLUME]["spec"]["claimRef"]["uid"] = "of-somebody-else"
    action = RetireVolume(ordinal=1, name="data-demo-1", uid="p1", node_id="n1", keep=True, reason="x")
    with pytest.raises(ActionRefused, match="the PersistentVolume pv-1 is not bound to the claim data-demo-1"):
        await volumes.retire(kube, action, DESIRED)
    assert server.objects[VOLUME]["spec"]["persistentVolumeReclaimPolicy"] == "Delete"
    assert {CLAIM, POD} <= server.objects.keys()


async def test_only_the_claim_that_was_observed_is_stamped(server: FakeApiServer, kube: Kube) -> None:
    disk(server, "")
    action = StampVolume(ordinal=1, name="data-demo-1", node_id="n1", uid="claim-0", reason="x")
    with pytest.raises(Conflict):
        await volumes.perform(kube, action, DESIRED)
    assert server.objects[CLAIM]["metadata"]["annotations"][labels.NODE_ID] == ""
    await volumes.perform(kube, msgspec.structs.replace(action, uid="claim-1"), DESIRED)
    assert server.objects[CLAIM]["metadata"]["annotations"][labels.NODE_ID] == "n1"


async def test_claim_already_being_deleted_has_only_its_pod_deleted(server: FakeApiServer, kube: Kube) -> None:
    """The operator may have died between claim and pod."""
    disk(server)
    server.objects[CLAIM]["metadata"]["deletionTimestamp"] = "x"
    await volumes.retire(kube, RetireVolume(ordinal=1, name="data-demo-1", uid="p1", node_id="n1", reason="x"), DESIRED)
    assert POD not in server.objects
    assert CLAIM in server.objects


async def test_nothing_of_another_incarnation_or_pod_is_deleted(server: FakeApiServer, kube: Kube) -> None:
    disk(server, "n2")
    action = RetireVolume(ordinal=1, name="data-demo-1", uid="p1", node_id="n1", reason="x")
    with pytest.raises(ActionRefused):
        await volumes.retire(kube, action, DESIRED)
    assert {CLAIM, POD} <= server.objects.keys()
    server.objects[CLAIM]["metadata"]["annotations"][labels.NODE_ID] = "n1"
    server.objects[POD]["metadata"]["uid"] = "p2"
    with pytest.raises(Conflict):
        await volumes.retire(kube, action, DESIRED)
    assert POD in server.objects


async def test_identity_clears_nothing_that_is_recorded(server: FakeApiServer, kube: Kube) -> None:
    """A record that lost its ID still proves that the cluster has had data: there must be no second bootstrap."""
    metadata = {"name": "demo-record", "labels": labels.object_labels("demo")}
    server.put(RECORD, {"metadata": metadata, "data": {"initialized": "true", "bootstrap-node": "n1"}})
    await Record(kube).establish(EstablishIdentity(cluster_id="c1", reason="x"), DESIRED)
    # What was sent: server-side apply removes the fields that are missing.
    assert server.bodies[-1]["data"] == {"cluster-id": "c1", "initialized": "true", "bootstrap-node": "n1"}


async def test_workload_is_applied_and_read_back(server: FakeApiServer, kube: Kube) -> None:
    action = EnsureWorkload(replicas=5, revision="r", reason="x")
    assert read_workload(None, DESIRED) == ABSENT
    await Children(kube).ensure_workload(action, DESIRED, cluster_id="c1")
    found = read_workload(server.objects[WORKLOAD], DESIRED)
    assert isinstance(found, Workload)
    assert found.replicas == 5


async def test_workload_of_an_earlier_resource_is_not_changed(server: FakeApiServer, kube: Kube) -> None:
    """It is about to be garbage-collected; a new one of the same name follows."""
    earlier = Desired(name="demo", namespace="shop", uid="u0")
    action = EnsureWorkload(replicas=3, revision="r", reason="x")
    await Children(kube).ensure_workload(action, earlier, cluster_id="c1")
    assert isinstance(read_workload(server.objects[WORKLOAD], DESIRED), Unknown)
    with pytest.raises(ActionRefused, match="belongs to an earlier"):
        await Children(kube).ensure_workload(action, DESIRED, cluster_id="c1")


async def test_existing_workload_keeps_its_immutable_fields(server: FakeApiServer, kube: Kube) -> None:
    """A larger volume in the resource must not make every later update of the StatefulSet fail."""
    action = EnsureWorkload(replicas=3, revision="r", reason="x")
    await Children(kube).ensure_workload(action, DESIRED, cluster_id="c1")
    grown = Desired(name="demo", namespace="shop", uid="u1", spec=Spec(storage=Storage(size="20Gi")))
    await Children(kube).ensure_workload(action, grown, cluster_id="c1")
    (template,) = server.objects[WORKLOAD]["spec"]["volumeClaimTemplates"]
    assert template["spec"]["resources"]["requests"]["storage"] == "10Gi"


async def test_object_whose_manifest_differs_from_the_plan_is_not_applied(server: FakeApiServer, kube: Kube) -> None:
    action = ApplyObject(
        kind="PodDisruptionBudget", name="demo", digest="of another plan", max_unavailable=1, reason="x"
    )
    with pytest.raises(ActionRefused, match="differs from the planned one"):
        await Children(kube).apply(action, DESIRED)
    assert not server.objects


async def test_only_optional_objects_are_deleted(kube: Kube) -> None:
    with pytest.raises(ActionRefused, match="stays as long as its cluster"):
        await Children(kube).delete(DeleteObject(kind="Service", name="demo", reason="x"), DESIRED)
    await Children(kube).delete(DeleteObject(kind="PodMonitor", name="demo", reason="x"), DESIRED)


async def test_kind_that_is_not_installed_has_no_objects(server: FakeApiServer, kube: Kube) -> None:
    """Most clusters have no PodMonitor CRD."""
    await Children(kube).apply(_wanted("Service", "demo"), DESIRED)
    (found,) = [one for one in (await Children(kube).read(DESIRED)).objects if one.kind == "Service"]
    assert found.name == "demo"


def _wanted(kind: str, name: str) -> ApplyObject:
    (found,) = [one for one in manifests.build(DESIRED, disruptions=None) if (one.kind, one.name) == (kind, name)]
    return ApplyObject(kind=kind, name=name, digest=found.digest, reason="x")


@pytest.fixture
async def authority(kube: Kube) -> Authority:
    """Create the keys of a cluster."""
    found = Authority(kube, Record(kube))
    day_s = 86_400
    for kind, name in ((CertificateKind.AUTHORITY, "demo"), (CertificateKind.OPERATOR, labels.ADMINISTRATOR)):
        names = certificates.operator(DESIRED, "c1").names if kind is CertificateKind.OPERATOR else ()
        action = IssueCertificate(kind=kind, name=name, names=names, lifetime_s=900 * day_s, reason="x")
        await found.issue(action, DESIRED, cluster_id="c1", now=NOW)
    return found


async def test_keys_are_kept_and_the_authority_is_published(server: FakeApiServer, authority: Authority) -> None:
    looked, context, pem, found, conflict, foreign = await authority.read(DESIRED)
    assert found is not None
    assert found.phase is RotationPhase.STEADY
    assert not conflict
    assert foreign == ()
    assert [one.kind for one in looked] == [CertificateKind.AUTHORITY, CertificateKind.OPERATOR]
    assert context is not None
    assert (await authority.read(DESIRED)).context is context
    assert RECORD not in server.objects, "a certificate is published by an action of its own"
    await authority.publish(DESIRED)
    published = server.objects[RECORD]["data"]["ca.crt"]
    assert published == pem
    assert "PRIVATE" not in published
    secret = server.objects["/api/v1/namespaces/shop/secrets/demo-authority"]
    assert base64.b64decode(secret["data"]["tls.crt"]).decode() == published


async def test_authority_is_renewed_under_its_key(server: FakeApiServer, authority: Authority) -> None:
    before = (await authority.read(DESIRED)).certificates
    action = IssueCertificate(kind=CertificateKind.AUTHORITY, name="demo", lifetime_s=1_000, reason="x")
    await authority.issue(action, DESIRED, cluster_id="c1", now=NOW + 100)
    after = (await authority.read(DESIRED)).certificates
    assert after[0].not_after != before[0].not_after
    assert after[0].authority == before[0].authority


def ask(server: FakeApiServer, key: Any = None, **extra: str) -> SignRequest:
    """Have the pod demo-1 request a certificate, and return the planned action."""
    workload = statefulset.build(DESIRED, cluster_id="c1", replicas=3).body
    workload["metadata"]["uid"] = "w1"
    server.put(WORKLOAD, workload)
    controller = {"kind": "StatefulSet", "name": "demo", "uid": "w1", "controller": True}
    spec = {"serviceAccountName": "demo-node", "nodeName": "n1"}
    server.put(POD, {"metadata": {"name": "demo-1", "uid": "p1", "ownerReferences": [controller]}, "spec": spec})
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    stamped = {"pod-name": "demo-1", "pod-uid": "p1", "node-name": "n1", **extra}
    body = {
        "metadata": {"name": "csr-1"},
        "spec": {
            "signerName": "collectionstore.io/node",
            "username": account(DESIRED),
            "extra": {f"authentication.kubernetes.io/{name}": [value] for name, value in stamped.items()},
            "request": base64.b64encode(pem).decode(),
            "expirationSeconds": 3_600,
        },
    }
    server.put(REQUEST, body)
    names = certificates.member(DESIRED, "c1", 1).names
    return SignRequest(request="csr-1", name="demo-1", uid="p1", names=names, lifetime_s=86_400, reason="x")


async def test_request_is_approved_and_signed_for_the_planned_names(
    server: FakeApiServer, authority: Authority
) -> None:
    await authority.sign(ask(server), DESIRED, now=NOW)
    status = server.objects[REQUEST]["status"]
    assert [one["type"] for one in status["conditions"]] == ["Approved"]
    certificate = x509.load_pem_x509_certificate(base64.b64decode(status["certificate"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["collectionstore://c1/demo-1"]
    assert certificate.not_valid_after_utc.timestamp() == NOW + 3_600


async def test_answered_request_is_not_changed(server: FakeApiServer, authority: Authority) -> None:
    action = ask(server)
    await authority.sign(action, DESIRED, now=NOW)
    before = server.objects[REQUEST]
    await authority.sign(action, DESIRED, now=NOW)
    assert server.objects[REQUEST] == before


async def test_request_of_another_pod_is_not_signed(server: FakeApiServer, authority: Authority) -> None:
    """Whatever was planned: the stamp of the API server is read again before signing."""
    action = ask(server, **{"pod-uid": "p2"})
    with pytest.raises(ActionRefused, match="was made by demo-1 p2, not by demo-1 p1"):
        await authority.sign(action, DESIRED, now=NOW)
    assert "certificate" not in server.objects[REQUEST].get("status", {})


async def test_request_that_changed_is_not_approved(server: FakeApiServer, authority: Authority) -> None:
    action = ask(server)
    reads = iter([server.objects[REQUEST]])

    async def behave(request: Any) -> None:
        if request.method == "PATCH" and next(reads, None):
            server.put(REQUEST, server.objects[REQUEST])

    server.behave = behave
    with pytest.raises(Conflict):
        await authority.sign(action, DESIRED, now=NOW)


async def test_denied_request_says_why(server: FakeApiServer, authority: Authority) -> None:
    ask(server)
    action = DenyRequest(request="csr-1", reason="demo-9 is no member of demo")
    await authority.deny(action, DESIRED)
    (condition,) = server.objects[REQUEST]["status"]["conditions"]
    assert (condition["type"], condition["message"]) == ("Denied", "demo-9 is no member of demo")
    before = server.objects[REQUEST]
    await authority.deny(action, DESIRED)
    assert server.objects[REQUEST] == before, "an answered request is answered once"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"uid": "p2"}, "it is bound to another pod than the present demo-1"),
        ({"serviceAccountName": "default"}, "the pod demo-1 runs as default"),
        ({"nodeName": "n2"}, "it came from the node n1, the pod demo-1 is on n2"),
        ({"ownerReferences": []}, "the pod demo-1 is not controlled by the StatefulSet demo"),
        ({"ownerReferences": [{"uid": "w1"}]}, "the pod demo-1 is not controlled by the StatefulSet demo"),
        (
            {"ownerReferences": [{"kind": "StatefulSet", "name": "demo", "uid": "w0", "controller": True}]},
            "the pod demo-1 is not controlled by the StatefulSet demo",
        ),
    ],
)
async def test_request_of_a_pod_that_is_no_member_is_not_signed(
    server: FakeApiServer, authority: Authority, change: dict[str, Any], reason: str
) -> None:
    """Name, labels and ServiceAccount of a member can be given to any pod."""
    action = ask(server)
    pod = server.objects[POD]
    for key, value in change.items():
        pod["metadata" if key in pod["metadata"] else "spec"][key] = value
    with pytest.raises(ActionRefused, match=f"the request csr-1 is not signed: {reason}"):
        await authority.sign(action, DESIRED, now=NOW)
    assert "status" not in server.objects[REQUEST]


async def test_nothing_is_signed_for_pods_of_a_foreign_workload(server: FakeApiServer, authority: Authority) -> None:
    action = ask(server)
    server.objects[WORKLOAD]["metadata"]["ownerReferences"][0]["uid"] = "u0"
    with pytest.raises(ActionRefused, match="the StatefulSet demo belongs to an earlier"):
        await authority.sign(action, DESIRED, now=NOW)
    assert "status" not in server.objects[REQUEST]


async def test_foreign_keys_are_neither_trusted_nor_changed(server: FakeApiServer, authority: Authority) -> None:
    """A Secret of the authority's name that another owner has put there signs nothing."""
    action = ask(server)
    secret = server.objects["/api/v1/namespaces/shop/secrets/demo-authority"]
    secret["metadata"]["labels"] = {}
    secret["metadata"]["managedFields"] = [{"manager": "kubectl-create", "operation": "Update"}]
    before = copy.deepcopy(secret)
    keys = await authority.read(DESIRED)
    assert (keys.certificates, keys.context, keys.authority_pem) == ((), None, "")
    (foreign,) = keys.foreign
    assert (foreign.kind, foreign.name) == ("Secret", "demo-authority")
    assert foreign.owner == "another owner (written by kubectl-create)"
    issue = IssueCertificate(kind=CertificateKind.AUTHORITY, name="demo", lifetime_s=1_000, reason="x")
    for refused in (
        authority.sign(action, DESIRED, now=NOW),
        authority.issue(issue, DESIRED, cluster_id="c1", now=NOW),
        authority.publish(DESIRED),
    ):
        with pytest.raises(ActionRefused, match="the Secret demo-authority belongs to another owner"):
            await refused
    await authority.delete(DESIRED)
    assert server.objects["/api/v1/namespaces/shop/secrets/demo-authority"] == before
    assert "/api/v1/namespaces/shop/secrets/demo-operator" not in server.objects


@pytest.mark.parametrize("pem", [b"", b"nonsense"])
def test_malformed_request_is_refused(pem: bytes) -> None:
    with pytest.raises(ActionRefused, match="cannot be read"):
        sign_request(_authority(), pem, name="demo-1", names=(), lifetime_s=60, now=NOW)


def test_key_of_another_type_is_refused() -> None:
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    with pytest.raises(ActionRefused, match="ECDSA P-256"):
        sign_request(_authority(), pem, name="demo-1", names=(), lifetime_s=60, now=NOW)


def _authority() -> KeyPair:
    return make_authority("demo", "c1", lifetime_s=86_400, now=NOW)
