"""Certificate files: what is complete counts, everything else is made again."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from cryptography import x509

from collectionstore_local.state.authority_files import AuthorityFiles
from collectionstore_local.state.credentials import Credentials
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory, write_atomically
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.actions import IssueCertificate, PrepareAuthority, PromoteAuthority, RetireAuthority
from collectionstore_operator.model.observed import (
    ABSENT,
    Authority,
    CertificateKind,
    Observed,
    RotationPhase,
    Slot,
    Volume,
)
from collectionstore_operator.planning import certificates
from collectionstore_operator.reconcile import pki
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Spec
from collectionstore_operator.resource.network import Tls

DESIRED = Desired(name="demo")


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    directory = StateDirectory.at(tmp_path / "state").create_cluster("demo")
    directory.node("demo-0").path.mkdir()
    return directory


def issue_actions(credentials: Credentials) -> tuple[IssueCertificate, ...]:
    """Return the certificates that the planner would issue for a cluster of one."""
    observed = Observed(now=time.time(), cluster_id="c0ffee", certificates=credentials.look())
    return certificates.to_issue(DESIRED, observed, range(1))


def issue_all(credentials: Credentials) -> None:
    for action in issue_actions(credentials):
        credentials.issue(action, cluster_id="c0ffee", now=time.time())
    credentials.publish()


def test_everything_is_issued_and_then_nothing_remains(directory: ClusterDirectory) -> None:
    """Of the authority, the operator and the member; only the owner can read the keys."""
    credentials = Credentials(directory)
    assert [action.name for action in issue_actions(credentials)] == ["demo", labels.ADMINISTRATOR, "demo-0"]
    issue_all(credentials)
    assert issue_actions(credentials) == ()
    assert {file.name for file in directory.node("demo-0").tls.iterdir()} == {"ca.crt", "tls.crt", "tls.key"}
    for key in directory.path.rglob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600
    assert not (directory.node("demo-0").tls / "ca.key").exists()


@pytest.mark.parametrize("file", ["tls.crt", "tls.key"])
@pytest.mark.parametrize("damage", [None, b"", b"-----BEGIN CERTIFICATE-----\n"])
def test_incomplete_or_damaged_pair_is_made_again(directory: ClusterDirectory, file: str, damage: bytes | None) -> None:
    """A pair that a crash between two writes left incomplete."""
    credentials = Credentials(directory)
    issue_all(credentials)
    broken = directory.node("demo-0").tls / file
    broken.unlink()
    if damage is not None:
        broken.write_bytes(damage)
    assert [action.name for action in issue_actions(credentials)] == ["demo-0"]
    issue_all(credentials)
    assert issue_actions(credentials) == ()


def test_renewed_authority_keeps_its_key_and_spreads(directory: ClusterDirectory) -> None:
    """Leaves stay valid, since the key that signed them is the same; members trust the new certificate."""
    credentials = Credentials(directory)
    issue_all(credentials)
    leaf = (directory.node("demo-0").tls / "tls.crt").read_bytes()
    key = (directory.authority / "ca.key").read_bytes()
    renewal = IssueCertificate(kind=CertificateKind.AUTHORITY, name="demo", lifetime_s=1_000_000, reason="")
    credentials.issue(renewal, cluster_id="c0ffee", now=time.time())
    assert not credentials.published()
    credentials.publish()
    assert credentials.published()
    assert (directory.authority / "ca.key").read_bytes() == key
    assert (directory.node("demo-0").tls / "tls.crt").read_bytes() == leaf
    authority = (directory.authority / "ca.crt").read_bytes()
    assert (directory.node("demo-0").tls / "ca.crt").read_bytes() == authority
    assert (directory.credentials / "ca.crt").read_bytes() == authority


def test_leaf_needs_an_authority(directory: ClusterDirectory) -> None:
    """Nothing is written when there is none."""
    credentials = Credentials(directory)
    leaf = IssueCertificate(kind=CertificateKind.MEMBER, name="demo-0", lifetime_s=1_000, reason="")
    with pytest.raises(ActionRefused, match=r"is missing or damaged"):
        credentials.issue(leaf, cluster_id="c0ffee", now=time.time())
    assert not directory.node("demo-0").tls.exists()


def test_client_context_changes_with_its_files(directory: ClusterDirectory) -> None:
    """The operator presents its newest certificate."""
    credentials = Credentials(directory)
    assert credentials.client_written() == ()
    issue_all(credentials)
    before = credentials.client_written()
    assert before
    credentials.client_context()
    renewal = IssueCertificate(kind=CertificateKind.OPERATOR, name="operator", lifetime_s=1_000, reason="")
    credentials.issue(renewal, cluster_id="c0ffee", now=time.time())
    assert credentials.client_written() != before


@pytest.mark.parametrize("damage", [None, b"", b"-----BEGIN CERTIFICATE-----\n"])
def test_missing_or_damaged_trust_is_published_again(directory: ClusterDirectory, damage: bytes | None) -> None:
    credentials = Credentials(directory)
    issue_all(credentials)
    copy = directory.node("demo-0").tls / "ca.crt"
    copy.unlink()
    if damage is not None:
        copy.write_bytes(damage)
    assert not credentials.published()
    credentials.publish()
    assert copy.read_bytes() == (directory.authority / "ca.crt").read_bytes()


class Crash(Exception):
    """The supervisor ended between two writes."""


class Rotation:
    """A rotation, of which each write may be the last one of its supervisor."""

    def __init__(self, directory: ClusterDirectory) -> None:
        self.directory = directory
        self.writes_left = 10**6
        self.first = self.authority().trusted[0].key

    def write(self, path: Path, content: bytes) -> None:
        if self.writes_left == 0:
            raise Crash
        self.writes_left -= 1
        write_atomically(path, content)

    def credentials(self) -> Credentials:
        """Return those of a new supervisor."""
        return Credentials(self.directory, AuthorityFiles(self.directory.authority, write=self.write))

    def authority(self) -> Authority:
        found = self.credentials().authority()
        assert found is not None
        return found

    def step(self) -> RotationPhase:
        """Take the step that the stored phase asks for, and publish; return the phase before it."""
        credentials, found, now = self.credentials(), self.authority(), time.time()
        credentials.publish()
        match found.phase:
            case RotationPhase.STEADY:
                key = found.trusted[0].key
                action: PrepareAuthority | PromoteAuthority | RetireAuthority = PrepareAuthority(
                    name="demo", key=key, lifetime_s=10**6, request="r", reason=""
                )
            case RotationPhase.TRUSTING:
                action = PromoteAuthority(key=found.trusted[1].key, request="r", reason="")
            case RotationPhase.REISSUING:
                action = RetireAuthority(key=found.trusted[1].key, reason="")
        credentials.rotate(action, cluster_id="c0ffee", now=now)
        credentials.publish()
        return found.phase


@pytest.mark.parametrize("steps_before", [0, 1, 2])
@pytest.mark.parametrize("writes", range(5))
def test_rotation_survives_a_crash_between_any_two_writes(
    directory: ClusterDirectory, steps_before: int, writes: int
) -> None:
    """What was stored before the crash or the step itself counts, never a mixture; the next supervisor goes on."""
    issue_all(Credentials(directory))
    rotation = Rotation(directory)
    for _ in range(steps_before):
        rotation.step()
    before = rotation.authority()
    rotation.writes_left = writes
    with contextlib.suppress(Crash):
        rotation.step()
    rotation.writes_left = 10**6
    after = rotation.authority()
    assert after.phase in (before.phase, list(RotationPhase)[(steps_before + 1) % 3])
    # Whoever signs now can sign, and who is trusted was trusted before or was never used.
    assert {one.key for one in after.trusted} & {one.key for one in before.trusted}
    leaf = IssueCertificate(kind=CertificateKind.MEMBER, name="demo-0", lifetime_s=1_000, reason="")
    rotation.credentials().issue(leaf, cluster_id="c0ffee", now=time.time())
    signed = x509.load_pem_x509_certificate((directory.node("demo-0").tls / "tls.crt").read_bytes())
    signer = x509.load_pem_x509_certificates((directory.authority / "ca.crt").read_bytes())[0]
    signed.verify_directly_issued_by(signer)
    while rotation.authority().phase is not RotationPhase.STEADY or after.trusted == before.trusted:
        rotation.step()
        after = rotation.authority()
    final = rotation.authority()
    assert final.trusted[0].key != rotation.first
    assert final.request == "r"
    assert {file.name for file in directory.authority.iterdir()} == {"ca.crt", "ca.key", "rotation.json"}


def test_keys_of_a_prepared_authority_are_for_their_owner_alone(directory: ClusterDirectory) -> None:
    issue_all(Credentials(directory))
    Rotation(directory).step()
    assert (directory.authority / "next.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["next.key", "rotation.json"])
def test_damaged_file_of_a_rotation_costs_at_most_the_rotation(directory: ClusterDirectory, name: str) -> None:
    """The key that signs, and what is trusted, do not depend on it."""
    issue_all(Credentials(directory))
    rotation = Rotation(directory)
    rotation.step()
    before = rotation.authority()
    (directory.authority / name).write_bytes(b"{garbage")
    after = rotation.authority()
    assert after.trusted == before.trusted
    leaf = IssueCertificate(kind=CertificateKind.MEMBER, name="demo-0", lifetime_s=1_000, reason="")
    rotation.credentials().issue(leaf, cluster_id="c0ffee", now=time.time())
    if name == "next.key":
        assert after.phase is RotationPhase.REISSUING, "the second can sign no more: it is retired, and nothing uses it"
        rotation.step()
        assert rotation.authority().trusted == before.trusted[:1]


def test_unpublished_authority_does_not_sign(directory: ClusterDirectory) -> None:
    issue_all(Credentials(directory))
    rotation = Rotation(directory)
    rotation.step()
    (directory.node("demo-0").tls / "ca.crt").write_bytes(b"")
    action = PromoteAuthority(key=rotation.authority().trusted[1].key, reason="")
    with pytest.raises(ActionRefused, match="is not published"):
        rotation.credentials().rotate(action, cluster_id="c0ffee", now=time.time())


SEPARATE = Desired(name="demo", spec=Spec(tls=Tls(authorities="Separate")))


def separate_actions(credentials: Credentials, node_id: str = "") -> tuple[IssueCertificate, ...]:
    """Return what the planner would issue for a cluster of one whose peers have their own authority."""
    volume = Volume(name="demo-0", node_id=node_id or ABSENT)
    observed = Observed(
        now=time.time(),
        cluster_id="c0ffee",
        certificates=credentials.look(),
        authority=credentials.authority(),
        peer_authority=credentials.peer_authority(),
        slots=(Slot(ordinal=0, volume=volume),),
    )
    return certificates.to_issue(SEPARATE, observed, range(1))


def separate_all(credentials: Credentials, node_id: str = "") -> None:
    for action in separate_actions(credentials, node_id):
        credentials.issue(action, cluster_id="c0ffee", now=time.time())
    credentials.publish()


def prepare_peers(credentials: Credentials) -> None:
    found = credentials.authority()
    assert found is not None
    key = found.trusted[0].key
    action = PrepareAuthority(name="demo", key=key, lifetime_s=1_000_000, peers=True, reason="")
    credentials.rotate(action, cluster_id="c0ffee", now=time.time())
    credentials.publish()


def test_authority_of_peers_begins_with_the_key_that_members_trust(directory: ClusterDirectory) -> None:
    credentials = Credentials(directory)
    issue_all(credentials)
    prepare_peers(credentials)
    clients, peers = credentials.authority(), credentials.peer_authority()
    assert clients is not None
    assert peers is not None
    assert peers.phase is RotationPhase.TRUSTING
    assert peers.trusted[0].key == clients.trusted[0].key
    assert (directory.node("demo-0").tls / "ca.crt").read_bytes() == (directory.peer_authority / "ca.crt").read_bytes()
    assert (directory.credentials / "ca.crt").read_bytes() == (directory.authority / "ca.crt").read_bytes()
    assert [action.kind for action in separate_actions(credentials)] == [CertificateKind.SERVER]
    separate_all(credentials)
    shown = directory.node("demo-0").client_tls
    assert (shown / "ca.crt").read_bytes() == (directory.authority / "ca.crt").read_bytes()
    for key in directory.path.rglob("*.key"):
        assert key.stat().st_mode & 0o777 == 0o600


def test_peers_get_certificates_of_their_authority_once_it_signs(directory: ClusterDirectory) -> None:
    credentials = Credentials(directory)
    issue_all(credentials)
    prepare_peers(credentials)
    separate_all(credentials)
    found = credentials.peer_authority()
    assert found is not None
    promote = PromoteAuthority(key=found.trusted[1].key, peers=True, reason="")
    credentials.rotate(promote, cluster_id="c0ffee", now=time.time())
    assert [(one.kind, one.name) for one in separate_actions(credentials)] == [(CertificateKind.MEMBER, "demo-0")]
    separate_all(credentials)
    leaf = pki.issuer_identifier((directory.node("demo-0").tls / "tls.crt").read_bytes())
    server = pki.issuer_identifier((directory.node("demo-0").client_tls / "tls.crt").read_bytes())
    clients = credentials.authority()
    assert clients is not None
    assert (leaf, server) == (found.trusted[1].key, clients.trusted[0].key)


@pytest.mark.parametrize("written", range(5))
def test_first_step_for_peers_that_a_crash_interrupted_is_completed(directory: ClusterDirectory, written: int) -> None:
    """Whatever part of it is there, peers go on to trust the key that all of them trust now."""
    issue_all(Credentials(directory))
    count = 0

    def until_the_crash(path: Path, content: bytes) -> None:
        nonlocal count
        if count == written:
            raise InterruptedError
        count += 1
        write_atomically(path, content)

    broken = Credentials(directory)
    broken._peers = AuthorityFiles(directory.peer_authority, write=until_the_crash)
    with contextlib.suppress(InterruptedError):
        prepare_peers(broken)
    credentials = Credentials(directory)
    clients, peers = credentials.authority(), credentials.peer_authority()
    assert clients is not None
    if not credentials.peers_recorded:
        prepare_peers(credentials)
    elif peers is None:
        kind, name = CertificateKind.PEER_AUTHORITY, labels.peer_authority("demo")
        action = IssueCertificate(kind=kind, name=name, lifetime_s=1_000_000, reason="")
        credentials.issue(action, cluster_id="c0ffee", now=time.time())
    found = credentials.peer_authority()
    assert found is not None
    assert found.trusted[0].key == clients.trusted[0].key
    credentials.publish()
    assert credentials.published()


def test_certificate_of_a_member_is_for_its_incarnation(directory: ClusterDirectory) -> None:
    """The next one under its name gets another, and the key of the former is worth nothing to it."""
    credentials = Credentials(directory)
    issue_all(credentials)
    for node_id in ("00000000000000aa", "00000000000000bb"):
        (action,) = [one for one in separate_actions(credentials, node_id) if one.kind is CertificateKind.MEMBER]
        assert action.reason == "its subject alternative names have changed"
        assert f"URI:collectionstore-node:{node_id}" in action.names
        assert sum("collectionstore-node:" in name for name in action.names) == 1
        credentials.issue(action, cluster_id="c0ffee", now=time.time())
        assert separate_actions(credentials, node_id) == ()
