"""Certificates: which are required, which are due, and that issued ones pass a TLS handshake."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from collectionstore_operator.errors import InvariantViolated
from collectionstore_operator.model.actions import DenyRequest, IssueCertificate, SignRequest
from collectionstore_operator.model.certificate_lifetimes import renew_at
from collectionstore_operator.model.observed import (
    Certificate,
    CertificateKind,
    NodeStatus,
    Observed,
    Pod,
    SigningRequest,
)
from collectionstore_operator.planning import certificates
from collectionstore_operator.reconcile.pki import KeyPair, make_authority, make_leaf, read_certificate
from collectionstore_operator.resource.network import Tls
from collectionstore_operator.tests.planning.pictures import CLUSTER_ID, NOW, draw, make_desired

pytestmark = pytest.mark.xdist_group("certificates")

DAY_S = 86_400
CENTURY_S = 36_525 * DAY_S
MILLENNIUM = 946_684_800.0
DESIRED = make_desired(3)
HEALTHY = "0: leader\n1: voter\n2: voter"


def issue(
    actions: tuple[IssueCertificate, ...], now: float, before: tuple[Certificate, ...] = ()
) -> tuple[Certificate, ...]:
    """Return the certificates after these actions, all signed by the CA `key`."""
    made = {(one.kind, one.name): one for one in before}
    for action in actions:
        made[action.kind, action.name] = Certificate(
            kind=action.kind,
            name=action.name,
            not_before=now,
            not_after=now + action.lifetime_s,
            names=action.names,
            authority="key",
        )
    return tuple(made.values())


def due(found: tuple[Certificate, ...], now: float = NOW, ordinals: int = 3) -> list[tuple[str, str]]:
    """Return name and reason of the certificates to issue."""
    observed = Observed(now=now, cluster_id=CLUSTER_ID, certificates=found)
    return [(one.name, one.reason) for one in certificates.to_issue(DESIRED, observed, range(ordinals))]


def all_issued(now: float = NOW) -> tuple[Certificate, ...]:
    """Return a full set, just issued."""
    observed = Observed(now=now, cluster_id=CLUSTER_ID, certificates=())
    return issue(certificates.to_issue(DESIRED, observed, range(3)), now)


def test_new_cluster_gets_all_and_the_authority_first() -> None:
    """It signs the others, so it must exist before them."""
    missing = "it does not exist yet"
    assert due(()) == [(name, missing) for name in ("demo", "operator", "demo-0", "demo-1", "demo-2")]


def test_nothing_is_due_while_all_are_young() -> None:
    """Until two thirds of a leaf's 90 days are over."""
    assert due(all_issued(), NOW + 60 * DAY_S - 1) == []


def test_leaves_are_renewed_at_two_thirds_of_their_life() -> None:
    """Thirty days remain to fix a failing renewal."""
    renewals = due(all_issued(), NOW + 60 * DAY_S)
    assert [name for name, _ in renewals] == ["operator", "demo-0", "demo-1", "demo-2"]
    assert renewals[0][1] == "two thirds of its lifetime have passed, 30 days remain"


def test_authority_whose_key_is_not_rotated_is_renewed_with_it_years_ahead() -> None:
    """Ten years; the key is rotated after two thirds of them, and renewed after three quarters if it could not be."""
    old = tuple(one for one in all_issued() if one.kind is CertificateKind.AUTHORITY)

    def with_young_leaves(day: int) -> tuple[Certificate, ...]:
        young = all_issued(NOW + day * DAY_S)
        return tuple(one for one in young if one.kind is not CertificateKind.AUTHORITY) + old

    assert due(with_young_leaves(2_737), NOW + 2_737 * DAY_S) == []
    reason = "three quarters of its lifetime have passed, and its key is not rotated"
    assert due(with_young_leaves(2_738), NOW + 2_738 * DAY_S) == [("demo", reason)]


def test_lifetimes_are_those_of_the_resource() -> None:
    """Minutes, for instance, where a test is to see a renewal."""
    tls = Tls(certificate_lifetime_seconds=120, authority_lifetime_seconds=720)
    observed = Observed(now=NOW, cluster_id=CLUSTER_ID, certificates=())
    found = certificates.to_issue(make_desired(1, tls=tls), observed, range(1))
    assert [one.lifetime_s for one in found] == [720, 120, 120]


@pytest.mark.parametrize("lifetime_s", [60, 300, 3_600, 90 * DAY_S])
def test_short_life_is_not_due_at_its_start(authority: KeyPair, lifetime_s: int) -> None:
    """Validity begins a little early: never so much that two thirds of it are over when it is issued."""
    found = read_certificate(leaf(authority, lifetime_s=lifetime_s).certificate_pem, CertificateKind.MEMBER, "demo-0")
    assert found.not_after == NOW + lifetime_s
    assert renew_at(found) - NOW > lifetime_s / 2


def test_expired_certificate_is_issued_again() -> None:
    """However late: a cluster must recover after its operator was down."""
    assert due(all_issued(), NOW + 90 * DAY_S)[0] == ("operator", "it has expired")


def test_new_authority_signs_all_again() -> None:
    """Leaves of a key that is no longer trusted are useless."""
    found = tuple(
        msgspec.structs.replace(one, authority="other") if one.kind is CertificateKind.AUTHORITY else one
        for one in all_issued()
    )
    assert {reason for _, reason in due(found)} == {"it was signed by another CA"}
    assert len(due(found)) == 4


def test_changed_names_are_issued_again() -> None:
    """Clients verify the names in it."""
    found = tuple(
        msgspec.structs.replace(one, names=("DNS:old",)) if one.name == "demo-1" else one for one in all_issued()
    )
    assert due(found) == [("demo-1", "its subject alternative names have changed")]


def test_new_member_needs_its_own() -> None:
    """Scaling up issues for the new members alone."""
    assert [name for name, _ in due(all_issued(), ordinals=5)] == ["demo-3", "demo-4"]


@pytest.mark.parametrize("observed", [Observed(now=NOW, certificates=()), Observed(now=NOW, cluster_id=CLUSTER_ID)])
def test_nothing_is_issued_without_an_id_or_where_others_issue(observed: Observed) -> None:
    """Every certificate contains the ID; and a runtime may not issue certificates."""
    assert certificates.to_issue(DESIRED, observed, range(3)) == ()


def test_member_is_named_by_its_identity_and_its_addresses() -> None:
    """Peers verify the URI only; clients verify the DNS name that they connect to."""
    assert certificates.member(DESIRED, CLUSTER_ID, 1).names == (
        "DNS:demo-1",
        "DNS:demo-1.demo-peers.default.svc",
        "DNS:demo-1.demo-peers.default.svc.cluster.local",
        "DNS:demo.default.svc",
        "DNS:demo.default.svc.cluster.local",
        "DNS:localhost",
        "IP:127.0.0.1",
        "URI:collectionstore://c0ffee/demo-1",
    )
    assert certificates.operator(DESIRED, CLUSTER_ID).names == ("URI:collectionstore://c0ffee/operator",)


@pytest.fixture(scope="module")
def authority() -> KeyPair:
    """An authority, made once: keys take time."""
    return make_authority("demo", CLUSTER_ID, lifetime_s=DESIRED.spec.tls.authority_lifetime_s, now=NOW)


def leaf(authority: KeyPair, ordinal: int = 0, *, now: float = NOW, lifetime_s: int = 90 * DAY_S) -> KeyPair:
    """Return a member's certificate."""
    subject = certificates.member(DESIRED, CLUSTER_ID, ordinal)
    return make_leaf(
        authority, kind=subject.kind, name=subject.name, names=subject.names, lifetime_s=lifetime_s, now=now
    )


def test_issued_certificates_satisfy_the_planner(authority: KeyPair) -> None:
    """What is read back from the files needs no further action: names, lifetime and issuer are as required."""
    admin = certificates.operator(DESIRED, CLUSTER_ID)
    operator = make_leaf(
        authority, kind=admin.kind, name=admin.name, names=admin.names, lifetime_s=admin.lifetime_s, now=NOW
    )
    found = (
        read_certificate(authority.certificate_pem, CertificateKind.AUTHORITY, "demo"),
        read_certificate(operator.certificate_pem, CertificateKind.OPERATOR, "operator"),
        *(
            read_certificate(leaf(authority, ordinal).certificate_pem, CertificateKind.MEMBER, f"demo-{ordinal}")
            for ordinal in range(3)
        ),
    )
    assert due(found) == []


def test_authority_signs_leaves_and_leaves_sign_nothing(authority: KeyPair) -> None:
    """Basic constraints, key usage and extended key usage, as a strict verifier reads them."""
    top = x509.load_pem_x509_certificate(authority.certificate_pem)
    bottom = x509.load_pem_x509_certificate(leaf(authority).certificate_pem)
    assert top.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(
        ca=True, path_length=0
    )
    assert bottom.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert not bottom.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert list(bottom.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH,
        ExtendedKeyUsageOID.CLIENT_AUTH,
    ]
    bottom.verify_directly_issued_by(top)


def test_renewed_authority_keeps_its_key(authority: KeyPair) -> None:
    """Leaves of the old certificate are trusted under the new one, and the other way round."""
    later = NOW + 2_500 * DAY_S
    renewed = make_authority(
        "demo", CLUSTER_ID, lifetime_s=DESIRED.spec.tls.authority_lifetime_s, now=later, key_pem=authority.key_pem
    )
    member = leaf(authority)
    x509.load_pem_x509_certificate(member.certificate_pem).verify_directly_issued_by(
        x509.load_pem_x509_certificate(renewed.certificate_pem)
    )
    before = read_certificate(authority.certificate_pem, CertificateKind.AUTHORITY, "demo")
    after = read_certificate(renewed.certificate_pem, CertificateKind.AUTHORITY, "demo")
    assert after.authority == before.authority
    assert after.not_after > before.not_after


def test_leaf_never_outlives_its_authority() -> None:
    """A chain is valid only as long as all of it is."""
    short = make_authority("demo", CLUSTER_ID, lifetime_s=DAY_S, now=NOW)
    read = read_certificate(leaf(short).certificate_pem, CertificateKind.MEMBER, "demo-0")
    assert read.not_after == NOW + DAY_S


def test_members_verify_each_other_in_a_handshake(tmp_path: Path) -> None:
    """Mutual TLS 1.3 with OpenSSL itself: the chain, the purposes and a host name hold.

    OpenSSL has its own clock, so these are valid for a century.
    """
    authority = make_authority("demo", CLUSTER_ID, lifetime_s=CENTURY_S, now=MILLENNIUM)
    one, two = (leaf(authority, ordinal, now=MILLENNIUM, lifetime_s=CENTURY_S) for ordinal in (0, 1))
    server = _context(ssl.Purpose.CLIENT_AUTH, authority, one, tmp_path / "server")
    client = _context(ssl.Purpose.SERVER_AUTH, authority, two, tmp_path / "client")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    accepting = server.wrap_bio(to_server, to_client, server_side=True)
    dialing = client.wrap_bio(to_client, to_server, server_hostname="demo-0.demo-peers.default.svc")
    for _ in range(4):
        for side in (dialing, accepting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue  # the other side's turn
    seen = accepting.getpeercert()
    assert seen is not None
    assert ("URI", "collectionstore://c0ffee/demo-1") in seen["subjectAltName"]
    assert dialing.version() == "TLSv1.3"


def test_key_is_never_shown(authority: KeyPair) -> None:
    """A key pair in a log line or a traceback reveals nothing."""
    load_pem_private_key(authority.key_pem, password=None)
    assert repr(authority) == "KeyPair(...)"


def test_unknown_kind_of_name_is_a_bug(authority: KeyPair) -> None:
    """Names come from `certificates` alone; anything else must not be issued silently."""
    with pytest.raises(InvariantViolated, match="EMAIL:x"):
        make_leaf(authority, kind=CertificateKind.MEMBER, name="x", names=("EMAIL:x",), lifetime_s=DAY_S, now=NOW)


def _context(purpose: ssl.Purpose, authority: KeyPair, pair: KeyPair, directory: Path) -> ssl.SSLContext:
    directory.mkdir()
    for name, content in (("tls.crt", pair.certificate_pem), ("tls.key", pair.key_pem)):
        (directory / name).write_bytes(content)
    context = ssl.create_default_context(purpose, cadata=authority.certificate_pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(directory / "tls.crt", directory / "tls.key")
    return context


def test_where_nodes_make_their_keys_only_the_authority_and_the_operator_get_theirs_here() -> None:
    """A member's key never leaves its pod."""
    observed = Observed(now=NOW, cluster_id=CLUSTER_ID, certificates=(), requests=())
    assert [one.name for one in certificates.to_issue(DESIRED, observed, range(3))] == ["demo", "operator"]


@pytest.mark.parametrize(
    ("member", "uid", "picture", "answer"),
    [
        pytest.param("demo-1", "{uid}", HEALTHY, "sign demo-1", id="of-a-member"),
        pytest.param(
            "demo-1", "earlier", HEALTHY, "the pod demo-1 was replaced after the request", id="of-an-earlier-pod"
        ),
        pytest.param("demo-9", "{uid}", HEALTHY, "demo-9 is not a member of demo", id="of-an-unwanted-ordinal"),
        pytest.param("other-1", "{uid}", HEALTHY, "other-1 is not a member of demo", id="of-another-cluster"),
        pytest.param("", "", HEALTHY, "the requester is not a member of demo", id="of-no-pod"),
        pytest.param("demo-1", "{uid}", "0: leader\n1: voter hidden\n2: voter", "", id="of-a-pod-that-cannot-be-seen"),
        pytest.param("demo-1", "{uid}", "0: leader\n1: free\n2: voter", "", id="of-a-pod-that-is-not-there-yet"),
    ],
)
def test_request_is_signed_for_the_pod_that_made_it_alone(member: str, uid: str, picture: str, answer: str) -> None:
    """The API server vouches for the requesting pod; the names in the request are ignored."""
    seen = draw(picture, DESIRED)
    pod = seen.slot(1).pod
    pod_uid = uid.format(uid=pod.uid if isinstance(pod, Pod) else "u")
    request = SigningRequest(name="csr-1", member=member, pod_uid=pod_uid)
    observed = msgspec.structs.replace(seen, certificates=all_issued(), requests=(request,))
    answers = certificates.to_answer(DESIRED, observed, range(3))
    results = [f"sign {one.name}" if isinstance(one, SignRequest) else one.reason for one in answers]
    assert results == ([answer] if answer else [])
    for one in answers:
        if isinstance(one, SignRequest):
            assert one.names == certificates.member(DESIRED, CLUSTER_ID, 1).names
            assert one.uid == pod_uid


def ask(node_id: str, picture: str = "0: leader\n1: voter\n2: voter") -> tuple[SignRequest | DenyRequest, ...]:
    """Return the answers to a request of demo-1 that names an incarnation."""
    seen = draw(picture, DESIRED)
    pod = seen.slot(1).pod
    assert isinstance(pod, Pod)
    request = SigningRequest(name="csr-1", member="demo-1", pod_uid=pod.uid, node_id=node_id)
    observed = msgspec.structs.replace(seen, certificates=all_issued(), requests=(request,))
    return certificates.to_answer(DESIRED, observed, range(3))


def test_certificate_is_bound_to_the_incarnation_that_asks_for_it() -> None:
    """The key of a removed member is worth nothing to the one that has its name later."""
    (signed,) = ask("00000000000000aa")
    assert isinstance(signed, SignRequest)
    assert "URI:collectionstore-node:00000000000000aa" in signed.names


def test_node_id_of_another_member_is_refused() -> None:
    """A member must not get a certificate with which it could speak for another one."""
    other = draw("0: leader\n1: voter\n2: voter", DESIRED).slot(2).node
    assert isinstance(other, NodeStatus)
    (denied,) = ask(other.node_id)
    assert isinstance(denied, DenyRequest)
    assert denied.reason == f"the node ID {other.node_id} is that of demo-2"


def test_names_of_the_resource_are_in_the_certificates_of_members() -> None:
    """Load balancers, addresses and another domain of the Kubernetes cluster."""
    tls = Tls(dns_names=("store.example.org",), ip_addresses=("192.0.2.7", "2001:db8::1"), cluster_domain="corp.lan")
    names = certificates.member(make_desired(3, tls=tls), CLUSTER_ID, 0).names
    added = {"DNS:store.example.org", "IP:192.0.2.7", "IP:2001:db8::1", "DNS:demo.default.svc.corp.lan"}
    assert added <= set(names)
    assert not [one for one in names if one.endswith("cluster.local")]


def test_requests_wait_for_the_authority() -> None:
    """Nothing can be signed before the CA exists."""
    seen = draw(HEALTHY, DESIRED)
    request = SigningRequest(name="csr-1", member="demo-9", pod_uid="x")
    observed = msgspec.structs.replace(seen, certificates=(), requests=(request,))
    assert certificates.to_answer(DESIRED, observed, range(3)) == ()
