"""The members' side of the network: one listener per running pod, with a certificate of its cluster's authority."""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from collectionstore_bench.operator.stub.members import Answer, Group

PORT: Final = 7400
"""Fixed by the operator, as the port of clients."""
LIFETIME: Final = timedelta(days=7)


class Members:
    """The listeners of all pods of all clusters."""

    def __init__(self) -> None:
        self._groups: dict[tuple[str, str], Group] = {}
        self._servers: dict[tuple[str, str], asyncio.Server] = {}

    def group(self, namespace: str, cluster: str) -> Group | None:
        """Return the members of a cluster, None before its first pod ran."""
        return self._groups.get((namespace, cluster))

    def add(self, namespace: str, cluster: str, group: Group) -> None:
        """Add a cluster."""
        self._groups[namespace, cluster] = group

    async def listen(self, namespace: str, pod: str, address: str, group: Group, tls: ssl.SSLContext) -> None:
        """Answer for a pod on its address."""
        runner = web.AppRunner(_application(group, pod), access_log=None)
        await runner.setup()
        if runner.server is None:
            raise RuntimeError("the application was not set up")
        loop = asyncio.get_running_loop()
        self._servers[namespace, pod] = await loop.create_server(runner.server, address, PORT, ssl=tls, backlog=16)

    def close(self, namespace: str, pod: str) -> None:
        """Stop answering for a pod."""
        server = self._servers.pop((namespace, pod), None)
        if server is not None:
            server.close()


def _application(group: Group, pod: str) -> web.Application:
    def answering(answer: Callable[[dict[str, object]], Answer]) -> Callable[[web.Request], object]:
        async def handle(request: web.Request) -> web.Response:
            body = await request.json() if request.can_read_body else {}
            code, content = answer(body)
            return web.json_response(content, status=code)

        return handle

    made = web.Application()
    made.router.add_get("/status", answering(lambda _: group.status(pod)))  # type: ignore[arg-type]
    made.router.add_post("/api/v1/cluster/bootstrap", answering(lambda body: group.bootstrap(pod, body)))  # type: ignore[arg-type]
    made.router.add_post("/api/v1/cluster/members", answering(group.change))  # type: ignore[arg-type]
    made.router.add_post("/api/v1/cluster/transfer-leadership", answering(group.transfer))  # type: ignore[arg-type]
    return made


def tls_context(host: str, authority_pem: bytes, key_pem: bytes) -> ssl.SSLContext:
    """Return the TLS context of a member: mutual TLS under its cluster's authority."""
    issuer, signer = x509.load_pem_x509_certificate(authority_pem), serialization.load_pem_private_key(key_pem, None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise TypeError("the authority's key is not an elliptic curve key")
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(min(now + LIFETIME, issuer.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(signer, hashes.SHA256())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=authority_pem.decode())
    encoding = serialization.Encoding.PEM
    with tempfile.TemporaryDirectory() as folder:
        pair = Path(folder, "pair.pem")
        pair.write_bytes(
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
            + certificate.public_bytes(encoding)
        )
        context.load_cert_chain(pair)
    return context
