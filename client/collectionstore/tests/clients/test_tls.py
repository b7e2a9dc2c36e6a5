"""TLS: who is trusted, what this client shows, and that nothing is sent to others."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
import trustme

from collectionstore import AsyncClient
from collectionstore.errors import ConfigurationError, DeadlineExceeded
from collectionstore.tests.fake_server import FakeServer


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.crt")
    own = made.issue_cert("client.example")
    own.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    own.private_key_pem.write_to_path(tmp_path / "tls.key")
    return made


def server_context(authority: trustme.CA, *, needs_client: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    if needs_client:
        authority.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_a_trusted_member_and_a_certificate_of_this_client(authority: trustme.CA, tmp_path: Path) -> None:
    async with FakeServer(tls=server_context(authority, needs_client=True)) as server:
        host = server.url.partition("://")[2]
        files = f"tls_ca={tmp_path}/ca.crt&tls_cert={tmp_path}/tls.crt&tls_key={tmp_path}/tls.key"
        async with AsyncClient(f"collectionstore://{host}/?tls=true&{files}", discovery="off") as client:
            assert (await client.collection("c").put("a", {})).revision == 7


async def test_a_member_that_is_not_trusted_is_sent_nothing(authority: trustme.CA, tmp_path: Path) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.crt")
    async with FakeServer(tls=server_context(authority)) as server:
        host = server.url.partition("://")[2]
        url = f"collectionstore://{host}/?tls=true&tls_ca={tmp_path}/other.crt&timeout=300ms&token=s3cret"
        async with AsyncClient(url, discovery="off") as client:
            with pytest.raises(DeadlineExceeded) as caught:
                await client.collection("c").put("a", {})
        assert caught.value.outcome == "not_applied"
        assert "s3cret" not in str(caught.value)
        assert (server.operations, server.authorizations) == ([], [])


async def test_credentials_without_tls_are_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigurationError, match="TLS"):
        AsyncClient("http://far.example:7400", token="t")


async def test_an_authority_that_is_replaced_is_read_again(authority: trustme.CA, tmp_path: Path) -> None:
    trust = tmp_path / "trust.crt"
    trustme.CA().cert_pem.write_to_path(trust)
    async with FakeServer(tls=server_context(authority)) as server:
        host = server.url.partition("://")[2]
        async with AsyncClient(f"collectionstore://{host}/?tls=true&tls_ca={trust}", discovery="off") as client:
            collection = client.collection("c")
            with pytest.raises(DeadlineExceeded):
                await collection.put("a", {}, timeout="200ms")
            trust.write_text("half a certificate")
            with pytest.raises(DeadlineExceeded):
                await collection.put("a", {}, timeout="200ms")
            trust.write_bytes((tmp_path / "ca.crt").read_bytes())
            assert (await collection.put("a", {})).revision == 7
