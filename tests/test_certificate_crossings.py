"""A certificate of one purpose is worth nothing for another one: every kind, at every port, by real handshakes.

The certificates are those that the operator issues, the ports those of a node.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from collectionstore_node.security.client_tls import ClientTls, is_operator
from collectionstore_node.transport.security.tls import TlsContexts, TlsFiles, check_role, peer_proof
from collectionstore_node.transport.wire.close_codes import Refused
from collectionstore_node.transport.wire.handshake import PeerName
from collectionstore_operator.model.observed import CertificateKind
from collectionstore_operator.planning import certificates
from collectionstore_operator.reconcile import pki
from collectionstore_operator.reconcile.pki import KeyPair
from collectionstore_operator.resource.desired import Desired

CLUSTER_ID = "c1"
DESIRED = Desired(name="demo")
DAY_S = 86_400


@dataclass
class Cluster:
    """Two authorities, and what each has signed."""

    folder: Path
    clients: KeyPair
    peers: KeyPair

    @classmethod
    def create(cls, folder: Path) -> Cluster:
        made = [pki.make_authority("demo", CLUSTER_ID, lifetime_s=300 * DAY_S, now=time.time()) for _ in range(2)]
        return cls(folder, *made)

    def issue(self, name: str, signer: KeyPair, kind: CertificateKind, trusted: KeyPair, **when: float) -> Path:
        """Write the pair of a member, or of the operator, with the authorities that it trusts; return its folder."""
        if kind is CertificateKind.OPERATOR:
            subject = certificates.operator(DESIRED, CLUSTER_ID)
        else:
            subject = certificates.member(DESIRED, CLUSTER_ID, 1, "00000000000000aa")
        now = when.get("now", time.time())
        pair = pki.make_leaf(signer, kind=kind, name=subject.name, names=subject.names, lifetime_s=90 * DAY_S, now=now)
        folder = self.folder / name
        folder.mkdir()
        (folder / "tls.crt").write_bytes(pair.certificate_pem)
        (folder / "tls.key").write_bytes(pair.key_pem)
        (folder / "ca.crt").write_bytes(trusted.certificate_pem)
        return folder

    def ports(self) -> tuple[TlsContexts, ClientTls]:
        """Return the two ports of a member."""
        peers = self.issue("own-peers", self.peers, CertificateKind.MEMBER, self.peers)
        clients = self.issue("own-clients", self.clients, CertificateKind.SERVER, self.clients)
        files = TlsFiles(peers / "ca.crt", peers / "tls.crt", peers / "tls.key")
        return TlsContexts(files, PeerName(CLUSTER_ID, "demo-1")), ClientTls(clients)


def shown_by(folder: Path, trusted: KeyPair, *, verifies: bool = True) -> ssl.SSLContext:
    """Return the context of one who connects with the pair in a folder."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if verifies:
        context.load_verify_locations(cadata=trusted.certificate_pem.decode())
    else:
        context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


async def connect(listening: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject | None:
    """Return the server's view of a connection; None if the handshake fails, on either side."""
    seen: asyncio.Queue[ssl.SSLObject] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.put_nowait(writer.get_extra_info("ssl_object"))
        writer.write(b"x")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=listening)
    host, port = server.sockets[0].getsockname()[:2]
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=client)
        # With TLS 1.3 the client learns of a refusal only when it reads.
        accepted = await reader.read(1) == b"x"
        writer.close()
    except (ssl.SSLError, ConnectionError):
        accepted = False
    finally:
        server.close()
    return seen.get_nowait() if accepted else None


async def is_peer(port: TlsContexts, client: ssl.SSLContext) -> bool:
    """Return whether the peer port takes one who connects for a member."""
    seen = await connect(port.listening, client)
    if seen is None:
        return False
    try:
        check_role(seen.getpeercert(binary_form=True))
        peer_proof(seen.getpeercert())
    except Refused:
        return False
    return True


async def is_administrator(port: ClientTls, client: ssl.SSLContext) -> bool:
    """Return whether the client port takes one who connects for the operator, as it does for each request."""
    seen = await connect(port.listening, client)
    return (
        seen is not None
        and is_operator(CLUSTER_ID, seen.getpeercert())
        and port.still_trusts(seen.getpeercert(binary_form=True))
    )


KINDS = (CertificateKind.MEMBER, CertificateKind.SERVER, CertificateKind.OPERATOR)


@pytest.mark.parametrize("kind", KINDS, ids=[one.value for one in KINDS])
@pytest.mark.parametrize("signer", ["peers", "clients", "stranger"])
async def test_only_a_members_certificate_of_peers_opens_the_peer_port(
    tmp_path: Path, kind: CertificateKind, signer: str
) -> None:
    cluster = Cluster.create(tmp_path)
    port, _ = cluster.ports()
    stranger = pki.make_authority("demo", CLUSTER_ID, lifetime_s=300 * DAY_S, now=time.time())
    signed = {"peers": cluster.peers, "clients": cluster.clients, "stranger": stranger}[signer]
    folder = cluster.issue("other", signed, kind, cluster.peers)
    opens = await is_peer(port, shown_by(folder, cluster.peers))
    assert opens is (kind is CertificateKind.MEMBER and signer == "peers")


@pytest.mark.parametrize("kind", KINDS, ids=[one.value for one in KINDS])
@pytest.mark.parametrize("signer", ["peers", "clients", "stranger"])
async def test_only_the_operators_certificate_of_clients_changes_the_cluster(
    tmp_path: Path, kind: CertificateKind, signer: str
) -> None:
    """Also one with the operator's name that the authority of peers has signed is worth nothing."""
    cluster = Cluster.create(tmp_path)
    _, port = cluster.ports()
    stranger = pki.make_authority("demo", CLUSTER_ID, lifetime_s=300 * DAY_S, now=time.time())
    signed = {"peers": cluster.peers, "clients": cluster.clients, "stranger": stranger}[signer]
    folder = cluster.issue("other", signed, kind, cluster.clients)
    accepted = await is_administrator(port, shown_by(folder, cluster.clients))
    assert accepted is (kind is CertificateKind.OPERATOR and signer == "clients")


async def test_each_port_shows_its_own_certificate_alone(tmp_path: Path) -> None:
    """A member takes no client port for a peer, and a client no peer port for a member's client port."""
    cluster = Cluster.create(tmp_path)
    peers, clients = cluster.ports()
    member = cluster.issue("member", cluster.peers, CertificateKind.MEMBER, cluster.peers)
    operator = cluster.issue("operator", cluster.clients, CertificateKind.OPERATOR, cluster.clients)
    assert await connect(peers.listening, shown_by(member, cluster.peers)) is not None
    assert await connect(clients.listening, shown_by(operator, cluster.clients)) is not None
    assert await connect(clients.listening, shown_by(operator, cluster.peers)) is None
    assert await connect(peers.listening, shown_by(member, cluster.clients)) is None
    assert await connect(peers.listening, shown_by(operator, cluster.clients, verifies=False)) is None


@pytest.mark.parametrize(("ahead_s", "accepted"), [(200, True), (1_000, False)], ids=["in-tolerance", "beyond"])
async def test_certificate_of_an_operator_whose_clock_is_ahead(
    tmp_path: Path, ahead_s: float, *, accepted: bool
) -> None:
    """Validity begins five minutes early: so far may the machine of the operator be ahead of a member's."""
    cluster = Cluster.create(tmp_path)
    peers, clients = cluster.ports()
    now = time.time() + ahead_s
    member = cluster.issue("member", cluster.peers, CertificateKind.MEMBER, cluster.peers, now=now)
    operator = cluster.issue("operator", cluster.clients, CertificateKind.OPERATOR, cluster.clients, now=now)
    assert await is_peer(peers, shown_by(member, cluster.peers)) is accepted
    assert await is_administrator(clients, shown_by(operator, cluster.clients)) is accepted
