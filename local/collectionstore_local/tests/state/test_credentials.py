"""Certificate files: what is complete counts, everything else is made again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from collectionstore_local.state.credentials import Credentials
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.actions import IssueCertificate
from collectionstore_operator.model.observed import CertificateKind, Observed
from collectionstore_operator.planning import certificates
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

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


@pytest.mark.parametrize("file", ["tls.crt", "tls.key", "ca.crt"])
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
    assert (directory.authority / "ca.key").read_bytes() == key
    assert (directory.node("demo-0").tls / "tls.crt").read_bytes() == leaf
    authority = (directory.authority / "ca.crt").read_bytes()
    assert (directory.node("demo-0").tls / "ca.crt").read_bytes() == authority
    assert (directory.credentials / "ca.crt").read_bytes() == authority


def test_leaf_needs_an_authority(directory: ClusterDirectory) -> None:
    """Nothing is written when there is none."""
    credentials = Credentials(directory)
    leaf = IssueCertificate(kind=CertificateKind.MEMBER, name="demo-0", lifetime_s=1_000, reason="")
    with pytest.raises(ActionRefused, match=r"ca\.crt is missing"):
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
