"""The client port's certificate is reloaded while the node runs; only the operator's certificate is authorized."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from collectionstore_node.security.client_tls import ClientTls, is_operator
from collectionstore_node.tests.transport.doubles import Authority


async def handshake(server: ClientTls, client: ssl.SSLContext) -> tuple[bytes, dict[str, Any] | None]:
    """Return the certificate the server showed, and what it saw of the client's."""
    seen: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("peercert") or None)
        writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server.listening)
    async with listening:
        host, port = listening.sockets[0].getsockname()[:2]
        reader, writer = await asyncio.open_connection(host, port, ssl=client)
        shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        certificate = await seen
        await reader.read()
        writer.close()
    assert isinstance(shown, bytes)
    return shown, certificate


def client_of(authority: Authority, folder: Path, name: str | None = None) -> ssl.SSLContext:
    """Return a client's context that trusts `authority`, with a certificate when it has a name."""
    files = authority.issue(folder, name or "nobody")
    context = ssl.create_default_context(cafile=str(files.ca))
    context.check_hostname = False
    if name is not None:
        context.load_cert_chain(files.certificate, files.key)
    return context


async def test_new_handshakes_get_the_renewed_certificate(tmp_path: Path) -> None:
    authority = Authority()
    authority.issue(tmp_path / "node", "demo-0")
    tls = ClientTls(tmp_path / "node")
    client = client_of(authority, tmp_path / "client")
    first, _ = await handshake(tls, client)
    tls.reload()
    assert (await handshake(tls, client))[0] == first, "unchanged files are not loaded again"
    authority.issue(tmp_path / "node", "demo-0")
    tls.reload()
    renewed, _ = await handshake(tls, client)
    assert renewed != first
    assert tls.certificate.not_after == x509.load_der_x509_certificate(renewed).not_valid_after_utc


async def test_files_that_do_not_match_leave_the_old_in_use(tmp_path: Path) -> None:
    authority = Authority()
    authority.issue(tmp_path / "node", "demo-0")
    tls = ClientTls(tmp_path / "node")
    client = client_of(authority, tmp_path / "client")
    first, _ = await handshake(tls, client)
    (tmp_path / "node" / "tls.key").write_bytes(b"not a key")
    tls.reload()
    assert (await handshake(tls, client))[0] == first


@pytest.mark.parametrize(
    ("name", "operator"), [("operator", True), ("demo-0", False), (None, False)], ids=["operator", "member", "nobody"]
)
async def test_only_the_operators_certificate_is_authorized(
    tmp_path: Path, name: str | None, *, operator: bool
) -> None:
    authority = Authority()
    authority.issue(tmp_path / "node", "demo-0")
    tls = ClientTls(tmp_path / "node")
    _, certificate = await handshake(tls, client_of(authority, tmp_path / "client", name))
    assert is_operator("c1", certificate) is (operator and _cluster(certificate) == "c1")
    if operator:
        assert is_operator(_cluster(certificate), certificate)
        assert not is_operator("another", certificate)


async def test_certificate_of_a_dropped_authority_is_worth_nothing_on_a_connection_it_opened(tmp_path: Path) -> None:
    """Dropping an authority ends what its certificates may do at once, also for who is connected already."""
    old, new = Authority(), Authority("next CA")
    files = old.issue(tmp_path / "node", "demo-0")
    tls = ClientTls(tmp_path / "node")
    own = old.issue(tmp_path / "client", "operator", member=False)
    shown = ssl.PEM_cert_to_DER_cert(own.certificate.read_text())
    assert tls.still_trusts(shown)
    new.issue(tmp_path / "node", "demo-0")
    files.ca.write_bytes(new.pem + old.pem)
    tls.reload()
    assert tls.still_trusts(shown)
    assert len(tls.trusted) == 2
    files.ca.write_bytes(new.pem)
    tls.reload()
    assert not tls.still_trusts(shown)
    assert not tls.still_trusts(None)


@pytest.mark.parametrize(("days", "valid"), [(-1, False), (0, True), (1, False)])
def test_expired_certificate_is_worth_nothing_on_a_connection_it_opened(
    tmp_path: Path, days: int, *, valid: bool
) -> None:
    authority = Authority()
    authority.issue(tmp_path / "node", "demo-0")
    tls = ClientTls(tmp_path / "node")
    shown = ssl.PEM_cert_to_DER_cert(authority.issue(tmp_path / "client", "operator").certificate.read_text())
    moment = datetime.now(UTC) + timedelta(days=days)
    assert tls.still_trusts(shown, moment) is valid


async def test_open_connection_outlives_a_change_of_the_authority(tmp_path: Path) -> None:
    """New trust, new certificate: what is connected goes on, and the next handshake gets the new."""
    old, new = Authority(), Authority("next CA")
    files = old.issue(tmp_path / "node", "demo-0")
    tls = ClientTls(tmp_path / "node")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0, ssl=tls.listening) as listening:
        host, port = listening.sockets[0].getsockname()[:2]
        before = client_of(old, tmp_path / "before", "operator")
        reader, writer = await asyncio.open_connection(host, port, ssl=before)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        new.issue(tmp_path / "node", "demo-0")
        files.ca.write_bytes(new.pem)
        tls.reload()
        writer.write(b"two\n")
        assert await reader.readline() == b"two\n"
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(host, port, ssl=before)
        after = client_of(new, tmp_path / "after", "operator")
        later, closing = await asyncio.open_connection(host, port, ssl=after)
        closing.write(b"three\n")
        assert await later.readline() == b"three\n"
        for one in (writer, closing):
            one.close()


def _cluster(certificate: dict[str, Any] | None) -> str:
    names = dict((certificate or {}).get("subjectAltName", ()))
    return str(names.get("URI", "")).removeprefix("collectionstore://").split("/")[0]


def test_missing_files_are_an_error_at_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"ca\.crt"):
        ClientTls(tmp_path)
