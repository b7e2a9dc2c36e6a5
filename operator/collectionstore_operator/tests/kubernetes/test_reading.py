"""What the API says of pods, claims and requests, as the planner sees it: every trouble by its name."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from collectionstore_operator.kubernetes.api import Kind
from collectionstore_operator.kubernetes.caches.watched import WATCHED, requesting_cluster
from collectionstore_operator.kubernetes.certificate_requests import account, read_request
from collectionstore_operator.kubernetes.claims import claim_name, ordinal_of, read_claim
from collectionstore_operator.kubernetes.pods import lost_machines, read_pod, unready_since
from collectionstore_operator.model.observed import ABSENT, Failure, Pod, SigningRequest, Unknown, Volume
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

DESIRED = Desired(name="demo", namespace="shop", uid="u1")
SECONDS = 60.0
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2025-12-31T23:00:00Z"}
UNREADY = {"type": "Ready", "status": "False", "lastTransitionTime": "2025-12-31T23:59:00Z"}
RUNNING = {"state": {"running": {}}, "restartCount": 2}


def pod(
    *conditions: dict[str, Any],
    container: dict[str, Any] | None = None,
    node: str = "n1",
    status: dict[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """Return a pod as the API gives it."""
    given = {"name": "demo-1", "uid": "p1", "creationTimestamp": "2025-12-31T23:58:00Z", **metadata}
    reported: dict[str, Any] = {"conditions": list(conditions), **(status or {})}
    if container is not None:
        reported["containerStatuses"] = [container]
    return {"metadata": given, "spec": {"nodeName": node} if node else {}, "status": reported}


def read(body: dict[str, Any], *lost: str, claim_deleting: bool = False) -> Pod:
    """Return the pod as the planner sees it."""
    return read_pod(body, DESIRED, unready_s=SECONDS, lost_machines=frozenset(lost), claim_deleting=claim_deleting)


def test_pod_that_serves() -> None:
    found = read(pod(READY, container=RUNNING, annotations={labels.REVISION: "r1"}))
    assert found == Pod(
        uid="p1",
        running=True,
        ready=True,
        revision="r1",
        restarts=2,
        peer_address="demo-1.demo-peers.shop.svc:7401",
        http_address="https://demo-1.demo-peers.shop.svc:7400",
        machine="n1",
    )


def test_image_and_zone_of_a_pod() -> None:
    """The zone is a label that Kubernetes copies from the machine."""
    body = pod(READY, container=RUNNING | {"image": "example.com/node:1"})
    body["metadata"]["labels"] = {"topology.kubernetes.io/zone": "a"}
    assert (read(body).image, read(body).zone) == ("example.com/node:1", "a")


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        (
            'x": 1}\n{"event": "node.refused", "reason": "the chain breaks\\nat entry 83"}',
            "the chain breaks at entry 83",
        ),
        ('{"event": "disk.failed", "reason": "no space"}\nTraceback (most recent call last):', "no space"),
        ("killed by the kernel", "Error: killed by the kernel"),
        ('["reason"]\n{"reason": 7}', 'Error: ["reason"] {"reason": 7}'),
        ("x" * 5_000, "Error: " + "x" * 33 + " ... " + "x" * 260),
    ],
)
def test_reason_of_an_exit_is_the_last_one_in_its_log(message: str, detail: str) -> None:
    ended = {"terminated": {"exitCode": 65, "reason": "Error", "message": message}}
    found = read(pod(UNREADY, container={"restartCount": 1, "state": {}, "lastState": ended}))
    assert (found.failure, found.detail) == (Failure.DAMAGED, f"exit code 65: {detail}")


def test_pod_that_runs_without_being_ready_says_for_how_long() -> None:
    found = read(pod(UNREADY, container=RUNNING))
    assert (found.running, found.ready, found.unready_s, found.failure) == (True, False, 60.0, Failure.NONE)


def test_a_state_is_another_one_after_it_was_left() -> None:
    """By the pod and the time that it tells, which is compared with no clock."""
    new = pod(container={"state": {"waiting": {"reason": "ContainerCreating"}}})
    assert (read(new).running, read(new).failure, read(new).detail) == (False, Failure.NONE, "")
    later = {**UNREADY, "lastTransitionTime": "2026-01-01T00:00:07Z"}
    bodies = [
        new,
        pod(UNREADY, container=RUNNING),
        pod(later, container=RUNNING),
        pod(later, container=RUNNING, uid="x"),
    ]
    assert [unready_since(one, frozenset()) for one in bodies] == [
        "p1 2025-12-31T23:58:00Z",
        "p1 2025-12-31T23:59:00Z",
        "p1 2026-01-01T00:00:07Z",
        "x 2026-01-01T00:00:07Z",
    ]
    gated = {**new, "spec": {**new["spec"], "schedulingGates": [{"name": labels.GATE}]}}
    assert unready_since(gated, frozenset()) != unready_since(new, frozenset()), "a fence is no part of being down"
    serving = pod(READY, container=RUNNING)
    assert unready_since(serving, frozenset()) == ""
    assert unready_since(serving, frozenset({"n1"})), "what a lost machine said last is not so now"


def test_marks_of_people_and_of_deletion_are_seen() -> None:
    found = read(pod(READY, container=RUNNING, deletionTimestamp="x", annotations={labels.REPLACE: ""}))
    assert found.terminating
    assert found.replace_requested


@pytest.mark.parametrize(
    ("told_to_stop", "lost", "claim_deleting", "stranded"),
    [(True, True, True, True), (False, True, True, False), (True, False, True, False), (True, True, False, False)],
)
def test_pod_is_stranded_when_nobody_will_say_that_it_stopped(
    *, told_to_stop: bool, lost: bool, claim_deleting: bool, stranded: bool
) -> None:
    """All three together: else its kubelet will say so, or its disk could be given to the next pod."""
    body = pod(READY, container=RUNNING)
    if told_to_stop:
        body["metadata"]["deletionTimestamp"] = "x"
    assert read(body, *(["n1"] if lost else []), claim_deleting=claim_deleting).stuck_terminating is stranded


@pytest.mark.parametrize(
    ("state", "restarts", "last", "failure", "detail"),
    [
        ({"reason": "ImagePullBackOff", "message": "no such\n tag"}, 0, None, Failure.IMAGE, "no such tag"),
        ({"reason": "ErrImageNeverPull"}, 0, None, Failure.IMAGE, "ErrImageNeverPull"),
        ({"reason": "CreateContainerConfigError", "message": "x"}, 0, None, Failure.CONFIGURATION, "x"),
        ({"reason": "CrashLoopBackOff"}, 1, 1, Failure.NONE, "CrashLoopBackOff"),
        ({"reason": "CrashLoopBackOff"}, 3, 1, Failure.CRASH, "CrashLoopBackOff; exit code 1"),
        ({"reason": "CrashLoopBackOff"}, 1, 64, Failure.CONFIGURATION, "exit code 64"),
        ({"reason": "CrashLoopBackOff"}, 1, 65, Failure.DAMAGED, "exit code 65"),
        ({"reason": "CrashLoopBackOff"}, 9, 74, Failure.DISK, "exit code 74"),
        ({"reason": "SomethingNew", "message": "x"}, 0, None, Failure.NONE, "SomethingNew: x"),
    ],
)
def test_trouble_of_a_container_is_named(
    state: dict[str, str], restarts: int, last: int | None, failure: Failure, detail: str
) -> None:
    container: dict[str, Any] = {"state": {"waiting": state}, "restartCount": restarts}
    if last is not None:
        container["lastState"] = {"terminated": {"exitCode": last, "reason": "Error"}}
    found = read(pod(UNREADY, container=container))
    assert found.failure is failure
    assert detail in found.detail
    assert not found.running


def test_pod_that_nobody_takes_says_what_the_scheduler_says() -> None:
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    found = read(pod(scheduled, node=""))
    assert (found.failure, found.detail) == (Failure.SCHEDULING, "Unschedulable: 0/3 nodes")


def test_evicted_pod_is_the_machines_doing() -> None:
    found = read(pod(status={"phase": "Failed", "reason": "Evicted", "message": "disk pressure"}))
    assert (found.failure, found.detail) == (Failure.MACHINE, "Evicted: disk pressure")


def test_pod_on_a_lost_machine_does_not_run_whatever_its_last_status_says() -> None:
    """The kubelet that would correct it is gone."""
    found = read(pod(READY, container=RUNNING), "n1")
    assert (found.running, found.ready, found.failure) == (False, False, Failure.MACHINE)


@pytest.mark.parametrize(
    ("node", "lost"),
    [
        (None, True),
        ({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, False),
        ({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}, False),
        ({"status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, True),
        ({"spec": {"taints": [{"key": "node.kubernetes.io/out-of-service"}]}}, True),
        ({"spec": {"taints": [{"key": "node.kubernetes.io/unschedulable"}]}}, False),
    ],
)
def test_machine_is_lost_when_it_is_gone_or_silent(node: dict[str, Any] | None, *, lost: bool) -> None:
    """One that says itself that it is not ready still speaks."""
    nodes = {} if node is None else {"n1": node}
    assert lost_machines(nodes, frozenset({"n1"})) == (frozenset({"n1"}) if lost else frozenset())


def claim(*, bound: bool = True, **metadata: Any) -> dict[str, Any]:
    """Return a claim as the API gives it."""
    return {"metadata": {"name": "data-demo-1", **metadata}, "spec": {"volumeName": "pv-1"} if bound else {}}


def bound(**fields: Any) -> Volume:
    """Return what is read of a bound claim."""
    return Volume(name="data-demo-1", persistent_volume="pv-1", **fields)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (claim(bound=False), Volume(name="data-demo-1", node_id=ABSENT)),
        (claim(), bound(node_id=Unknown("no node has been observed on it yet"))),
        (claim(annotations={labels.NODE_ID: "n"}), bound(node_id="n")),
        (claim(annotations={labels.NODE_ID: "n", labels.REMOVED: "n"}), bound(node_id="n", removed=True)),
        (claim(annotations={labels.CLUSTER_ID: "c2"}), Unknown("it belongs to the cluster c2")),
        (claim(deletionTimestamp="x"), Unknown("it is being deleted")),
    ],
)
def test_claim_says_what_is_recorded_of_its_disk(body: dict[str, Any], expected: Volume | Unknown) -> None:
    assert read_claim(body, None, "c1") == expected


def test_claim_on_its_way_out_is_still_the_disk_of_the_pod_that_runs_on_it() -> None:
    """The pod must stop before the claim can go: who had asked for both may have died in between."""
    going = claim(deletionTimestamp="x", annotations={labels.NODE_ID: "n"})
    assert read_claim(going, pod(READY), "c1") == bound(node_id="n", terminating=True)
    assert isinstance(read_claim(going, pod(READY, deletionTimestamp="x"), "c1"), Unknown)
    assert isinstance(read_claim(going, pod(node=""), "c1"), Unknown)


def test_pod_in_the_cache_says_what_the_whole_one_says() -> None:
    """The cache keeps a part of it: what is left out there is never seen, though every other test sees it."""
    ended = {"exitCode": 5, "message": "Error: no backup"}
    whole = pod(
        UNREADY, container={"state": {"waiting": {"reason": "PodInitializing"}}, "restartCount": 1, "image": "i"}
    )
    whole["spec"] |= {"schedulingGates": [{"name": labels.GATE}], "serviceAccountName": "demo-node"}
    whole["metadata"]["annotations"] = {labels.REPLACE: labels.IN_PLACE, labels.REVISION: "r"}
    whole["status"] |= {
        "phase": "Pending",
        "reason": "x",
        "message": "y",
        "podIP": "192.0.2.1",
        "initContainerStatuses": [{"state": {"waiting": {"reason": "x"}}, "lastState": {"terminated": ended}}],
    }
    (watched,) = [one for one in WATCHED if one.kind is Kind.POD]
    seen = read(watched.trim(whole))
    assert seen == read(whole)
    assert seen.gated
    assert seen.preparation is not None


def test_claims_are_found_by_name() -> None:
    assert claim_name(DESIRED, 10) == "data-demo-10"
    assert ordinal_of(DESIRED, "data-demo-10") == 10
    assert ordinal_of(DESIRED, "data-other-1") is None
    assert ordinal_of(DESIRED, "logs-demo-1") is None


def request(**changes: Any) -> dict[str, Any]:
    """Return a request as the API gives it, made by a pod of the cluster."""
    extra = {"authentication.kubernetes.io/pod-name": ["demo-1"], "authentication.kubernetes.io/pod-uid": ["p1"]}
    spec = {"signerName": "collectionstore.io/node", "username": account(DESIRED), "extra": extra, **changes}
    return {"metadata": {"name": "csr-1"}, "spec": spec, "status": changes.pop("status", {})}


def test_open_request_names_the_pod_that_the_server_saw() -> None:
    assert read_request(request(), DESIRED) == SigningRequest(name="csr-1", member="demo-1", pod_uid="p1")
    assert read_request(request(extra={}), DESIRED) == SigningRequest(name="csr-1", member="", pod_uid="")


@pytest.mark.parametrize(
    ("uris", "node_id"),
    [
        (["collectionstore-node:00000000000000aa"], "00000000000000aa"),
        (["collectionstore-node:AA"], ""),
        (["collectionstore://demo/operator"], ""),
        (["collectionstore-node:00000000000000aa", "collectionstore-node:00000000000000ab"], ""),
        ([], ""),
    ],
)
def test_open_request_names_the_incarnation_that_asks(uris: list[str], node_id: str) -> None:
    """One well-formed URI, or none: what a request says otherwise is not looked at."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if uris:
        names = [x509.UniformResourceIdentifier(one) for one in uris]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    found = read_request(request(request=base64.b64encode(pem).decode()), DESIRED)
    assert found is not None
    assert found.node_id == node_id


@pytest.mark.parametrize("encoded", ["", "!", base64.b64encode(b"no request").decode()])
def test_open_request_that_cannot_be_read_names_no_incarnation(encoded: str) -> None:
    """It is refused when it is signed, with the reason."""
    found = read_request(request(request=encoded), DESIRED)
    assert found is not None
    assert found.node_id == ""


@pytest.mark.parametrize(
    "body",
    [
        request(signerName="kubernetes.io/kubelet-serving"),
        request(username="system:serviceaccount:other:demo-node"),
        request(username="system:serviceaccount:shop:demo2-node"),
        request(username="admin"),
        request(status={"certificate": "x"}),
        request(status={"conditions": [{"type": "Denied"}]}),
        request(status={"conditions": [{"type": "Failed"}]}),
    ],
)
def test_request_of_somebody_else_or_one_that_is_answered_is_no_request(body: dict[str, Any]) -> None:
    assert read_request(body, DESIRED) is None


def test_approved_request_without_a_certificate_is_still_open() -> None:
    """The operator died between the two: it has to sign."""
    assert read_request(request(status={"conditions": [{"type": "Approved"}]}), DESIRED) is not None


@pytest.mark.parametrize(
    ("username", "cluster"),
    [
        ("system:serviceaccount:shop:demo-node", ("shop", "demo")),
        ("system:serviceaccount:shop:default", ("", "")),
        ("admin", ("", "")),
        ("", ("", "")),
    ],
)
def test_account_tells_whose_loop_to_wake(username: str, cluster: tuple[str, str]) -> None:
    assert requesting_cluster(username) == cluster
