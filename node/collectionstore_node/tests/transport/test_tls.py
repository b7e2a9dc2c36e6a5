"""Certificates: the identity in them, refused files, reload."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from collectionstore_node.part_settings import EXCHANGE_S, settled_peer_security
from collectionstore_node.settings import PREFIX, Settings
from collectionstore_node.tests.transport.doubles import Authority
from collectionstore_node.transport import Refused, TlsFilesRefused, peer_name
from collectionstore_node.transport.security.certificate import key_identifiers, read_facts
from collectionstore_node.transport.security.tls import TlsContexts
from collectionstore_node.transport.wire.handshake import PeerName

OWN = PeerName("demo", "n1")


def certificate(*uris: str) -> dict[str, tuple[tuple[str, str], ...]]:
    """Return a certificate as the ssl module shows it."""
    return {"subjectAltName": (("DNS", "localhost"), *(("URI", uri) for uri in uris))}


def test_identity_is_the_uri_name() -> None:
    """The one collectionstore:// name counts; other names do not matter."""
    assert peer_name(certificate("https://example.org/x", "collectionstore://demo/n1")) == OWN


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("https://demo/n1",),
        ("collectionstore://demo/n1", "collectionstore://demo/n2"),
        ("collectionstore://demo/n1", "collectionstore:whatever"),
        ("collectionstore://demo",),
        ("collectionstore:///n1",),
        ("collectionstore://demo/n1/x",),
        ("collectionstore://demo/n1?x",),
        ("collectionstore://demo/",),
        ("collectionstore://demo/n1\n",),
    ],
)
def test_certificate_without_exactly_one_identity_is_refused(uris: tuple[str, ...]) -> None:
    """No name, two names and names of another form prove nothing."""
    with pytest.raises(Refused):
        peer_name(certificate(*uris))


def test_no_certificate_is_refused() -> None:
    """What has no certificate has no name."""
    with pytest.raises(Refused):
        peer_name(None)


def test_contexts_demand_tls_1_3_and_a_certificate(authority: Authority, tmp_path: Path) -> None:
    """Both sides verify, and nothing older is spoken."""
    contexts = TlsContexts(authority.issue(tmp_path, "n1"), OWN)
    for context in (contexts.listening, contexts.client):
        assert context.minimum_version is ssl.TLSVersion.TLSv1_3
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_certificate_of_another_member_is_refused_at_start(authority: Authority, tmp_path: Path) -> None:
    """A node with the wrong certificate says so at once instead of being refused by everyone else."""
    with pytest.raises(TlsFilesRefused, match="this node is collectionstore://demo/n1"):
        TlsContexts(authority.issue(tmp_path, "n2"), OWN)


def test_key_of_another_certificate_is_refused(authority: Authority, tmp_path: Path) -> None:
    """Certificate and key must belong together."""
    files = authority.issue(tmp_path / "one", "n1")
    files.key.write_bytes(authority.issue(tmp_path / "two", "n1").key.read_bytes())
    with pytest.raises(TlsFilesRefused):
        TlsContexts(files, OWN)


async def test_a_pair_that_is_being_exchanged_is_waited_for_at_the_start(authority: Authority, tmp_path: Path) -> None:
    """Between the writes of its two files the new key is beside the old certificate; a wrong pair stays refused."""
    files = authority.issue(tmp_path / "tls", "n1")
    following = authority.issue(tmp_path / "next", "n1")
    files.key.write_bytes(following.key.read_bytes())
    values = {"NAME": "n1", "CLUSTER_ID": "demo", "DATA_DIR": str(tmp_path), "TLS_DIR": str(tmp_path / "tls")}
    settings = Settings.from_environment({PREFIX + name: value for name, value in values.items()})
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            files.certificate.write_bytes(following.certificate.read_bytes())

    assert await settled_peer_security(settings, sleep=sleep)
    assert slept == list(EXCHANGE_S[:2])
    files.key.unlink()
    with pytest.raises(TlsFilesRefused):
        await settled_peer_security(settings, sleep=sleep)
    assert len(slept) == 2 + len(EXCHANGE_S)


@pytest.mark.parametrize("missing", ["ca", "certificate", "key"])
def test_missing_file_is_named(authority: Authority, tmp_path: Path, missing: str) -> None:
    """The refusal names the file."""
    files = authority.issue(tmp_path, "n1")
    path: Path = getattr(files, missing)
    path.unlink()
    with pytest.raises(TlsFilesRefused, match=str(path)):
        TlsContexts(files, OWN)


def test_reload_takes_changed_files_once(authority: Authority, tmp_path: Path) -> None:
    """Unchanged files change nothing; changed ones are used for the next handshake."""
    files = authority.issue(tmp_path, "n1")
    contexts = TlsContexts(files, OWN)
    before = contexts.client
    assert not contexts.reload()
    assert contexts.client is before
    authority.issue(tmp_path, "n1")
    assert contexts.reload()
    assert contexts.client is not before
    assert not contexts.reload()


def test_facts_follow_the_files(authority: Authority, tmp_path: Path) -> None:
    """What a member reports of its certificates is what new handshakes use, authorities in their order."""
    files = authority.issue(tmp_path, "n1")
    contexts = TlsContexts(files, OWN)
    before, trusted = contexts.certificate, contexts.trusted
    successor = Authority("next CA")
    successor.issue(tmp_path, "n1")
    assert (contexts.certificate, contexts.trusted) == (before, trusted)
    files.ca.write_bytes(successor.pem + authority.pem)
    assert contexts.reload()
    assert contexts.certificate.serial != before.serial
    assert contexts.trusted == (*key_identifiers(successor.pem), *trusted)
    assert contexts.certificate == read_facts(files.certificate.read_bytes())


def test_reload_of_bad_files_keeps_the_old_ones(authority: Authority, tmp_path: Path) -> None:
    """Half-exchanged files are refused; when they are whole again, the reload goes through."""
    files = authority.issue(tmp_path, "n1")
    contexts = TlsContexts(files, OWN)
    before = contexts.client
    key = authority.issue(tmp_path / "next", "n1").key.read_bytes()
    files.key.write_bytes(key)
    with pytest.raises(TlsFilesRefused):
        contexts.reload()
    assert contexts.client is before
    files.certificate.write_bytes((tmp_path / "next" / "tls.crt").read_bytes())
    assert contexts.reload()
