"""Clients get the certificate that the user gives, the operator that of the cluster's authority, whatever happens."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from collectionstore_node.security.client_tls import ClientTls
from collectionstore_node.security.given_certificate import covers, dns_names
from collectionstore_node.tests.transport.doubles import Authority

MEMBER = "demo-0"


class Port:
    """A client port with the cluster's certificate, and a folder for that of the user."""

    def __init__(self, folder: Path) -> None:
        self.cluster, self.public = Authority("cluster"), Authority("public")
        self.own, self.given = folder / "own", folder / "given"
        self.cluster.issue(self.own, MEMBER)
        self.own_pem = (self.own / "tls.crt").read_bytes()

    def give(self) -> bytes:
        """Put a new certificate of the user in place; return it in DER."""
        return der(self.public.issue(self.given, "store", uris=[], dns=["*.example.org", "localhost"]).certificate)

    def open(self) -> ClientTls:
        return ClientTls(self.own, name=MEMBER, given=self.given)


@pytest.fixture
def port(tmp_path: Path) -> Port:
    return Port(tmp_path)


def der(path: Path) -> bytes:
    """Return a certificate as a handshake shows it."""
    return ssl.PEM_cert_to_DER_cert(path.read_text())


async def shown(server: ClientTls, name: str | None) -> bytes:
    """Return the certificate, in DER, that a client gets which asks for a server by this name."""

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server.listening)
    async with listening:
        host, number = listening.sockets[0].getsockname()[:2]
        reader, writer = await asyncio.open_connection(host, number, ssl=context, server_hostname=name or "127.0.0.1")
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        await reader.read()
        writer.close()
    assert isinstance(found, bytes)
    return found


async def test_clients_get_the_certificate_of_the_user_and_the_operator_does_not(port: Port) -> None:
    """A name that both are for is the user's; the member's name alone is the operator's."""
    given, own = port.give(), der(port.own / "tls.crt")
    tls = port.open()
    assert await shown(tls, "store.example.org") == given
    assert await shown(tls, "localhost") == given
    assert await shown(tls, None) == given, "a client that asks by address"
    assert await shown(tls, "unknown.example.com") == given
    assert await shown(tls, MEMBER) == own
    assert tls.given is not None
    assert tls.certificate.serial != tls.given.serial


async def test_new_certificate_of_the_user_is_loaded_while_running(port: Port) -> None:
    port.give()
    tls = port.open()
    renewed = port.give()
    tls.reload()
    assert await shown(tls, "store.example.org") == renewed


@pytest.mark.parametrize("damage", ["missing", "garbage", "other key"])
async def test_unusable_certificate_of_the_user_leaves_the_former_in_use(port: Port, damage: str) -> None:
    """Half of a renewal, a deleted Secret: said once, until the files are right."""
    former = port.give()
    tls = port.open()
    if damage == "missing":
        (port.given / "tls.crt").unlink()
    elif damage == "garbage":
        (port.given / "tls.crt").write_bytes(b"-----BEGIN")
    else:
        key = (port.given / "tls.key").read_bytes()
        port.give()
        (port.given / "tls.key").write_bytes(key)
    with structlog.testing.capture_logs() as logs:
        tls.reload()
        tls.reload()
    assert [one["event"] for one in logs] == ["certificate.refused"]
    assert await shown(tls, "store.example.org") == former
    repaired = port.give()
    tls.reload()
    assert await shown(tls, "store.example.org") == repaired


async def test_node_serves_before_there_is_a_certificate_of_the_user(port: Port) -> None:
    """The Secret may come later, from an issuer that waits for a load balancer."""
    tls = port.open()
    assert tls.given is None
    assert await shown(tls, "store.example.org") == der(port.own / "tls.crt")
    given = port.give()
    tls.reload()
    assert await shown(tls, "store.example.org") == given


async def test_rotated_authority_is_trusted_with_both_certificates(port: Port) -> None:
    """The operator's certificate must verify whichever name it asks for."""
    port.give()
    tls = port.open()
    before = tls.trusted
    following = Authority("following")
    (port.own / "ca.crt").write_bytes(following.pem + port.cluster.pem)
    tls.reload()
    assert len(tls.trusted) == 2
    assert set(before) < set(tls.trusted)
    operator = following.issue(port.own.parent / "operator", "operator", member=False)
    assert await admitted(tls, operator.certificate, operator.key, "store.example.org")


async def admitted(server: ClientTls, certificate: Path, key: Path, name: str) -> bool:
    """Return whether the port verifies a client's certificate."""
    seen: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(bool(writer.get_extra_info("peercert")))
        writer.close()

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    listening = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=server.listening)
    async with listening:
        host, number = listening.sockets[0].getsockname()[:2]
        reader, writer = await asyncio.open_connection(host, number, ssl=context, server_hostname=name)
        await reader.read()
        writer.close()
    return await seen


@pytest.mark.parametrize(
    ("name", "covered"),
    [
        ("store.example.org", True),
        ("STORE.example.org", True),
        ("a.b.example.org", False),
        ("example.org", False),
        ("plain", True),
        ("plain.example.com", False),
        ("", False),
    ],
)
def test_wildcard_is_one_whole_label(name: str, *, covered: bool) -> None:
    """RFC 6125, 6.4.3."""
    assert covers(frozenset({"*.example.org", "plain"}), name) is covered


def test_certificate_without_names_covers_nothing(tmp_path: Path) -> None:
    files = Authority().issue(tmp_path, "store", uris=["collectionstore://demo/store"], dns=[])
    assert dns_names(files.certificate.read_bytes()) == frozenset()
    assert x509.load_pem_x509_certificate(files.certificate.read_bytes())


@pytest.mark.parametrize("kind", ["unsupported name", "encrypted key"])
async def test_certificate_that_a_parser_chokes_on_ends_no_member(port: Port, kind: str) -> None:
    """It is the user's file. OpenSSL loads the first, and would ask for the password of the second on the terminal."""
    port.give()
    key = ec.generate_private_key(ec.SECP256R1())
    if kind == "encrypted key":
        sealed = serialization.BestAvailableEncryption(b"secret")
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, sealed)
        (port.given / "tls.key").write_bytes(pem)
    else:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "store")])
        x400 = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, bytes.fromhex("3002a300"))
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x400, critical=False)
            .sign(key, hashes.SHA256())
        )
        (port.given / "tls.crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        (port.given / "tls.key").write_bytes(pem)
    tls = port.open()
    assert tls.given is None
    assert await shown(tls, "store.example.org") == der(port.own / "tls.crt")
