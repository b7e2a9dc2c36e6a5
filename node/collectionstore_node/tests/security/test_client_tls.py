"""The client port's certificate is reloaded while the node runs; only the operator's certificate is authorized."""

from __future__ import annotations

import asyncio
import ssl
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
    assert tls.not_after == x509.load_der_x509_certificate(renewed).not_valid_after_utc


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


def _cluster(certificate: dict[str, Any] | None) -> str:
    names = dict((certificate or {}).get("subjectAltName", ()))
    return str(names.get("URI", "")).removeprefix("collectionstore://").split("/")[0]


def test_missing_files_are_an_error_at_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"ca\.crt"):
        ClientTls(tmp_path)
