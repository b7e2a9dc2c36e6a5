"""An API server that serves signing requests only, and the operator that signs them, both in memory."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collectionstore_node.security import ApiServer

BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
DAY_S = 86_400.0


class Authority:
    """A cluster's authority."""

    def __init__(self, name: str = "demo") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(self._name)
            .issuer_name(self._name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(BEGIN - timedelta(days=1))
            .not_valid_after(BEGIN + timedelta(days=3650))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM)

    def sign(
        self,
        request_pem: bytes,
        *uris: str,
        names: tuple[str, ...] = (),
        begin: datetime = BEGIN,
        days: int = 90,
    ) -> bytes:
        """Sign what a node asked for; the names are the signer's choice."""
        request = x509.load_pem_x509_csr(request_pem)
        assert request.is_signature_valid
        alternatives = [*map(x509.UniformResourceIdentifier, uris), *map(x509.DNSName, names)]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._name)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


class FakeApiServer:
    """Serves certificatesigningrequests over TLS; `behave` may answer before it does."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.tokens: list[str] = []
        self.behave: Callable[[web.Request], Awaitable[web.Response | None]] | None = None
        self.created = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(self, folder: Path) -> ApiServer:
        """Listen, and return how to reach it."""
        authority = trustme.CA()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(context)
        authority.cert_pem.write_to_path(str(folder / "api-ca.crt"))
        (folder / "token").write_text("first\n")
        application = web.Application()
        base = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
        application.router.add_post(base, self._create)
        application.router.add_get(base + "/{name}", self._get)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=context).start()
        port = self._runner.addresses[0][1]
        return ApiServer(f"https://127.0.0.1:{port}", folder / "api-ca.crt", folder / "token")

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    def request_pem(self, name: str) -> bytes:
        """Return what was asked for."""
        return base64.b64decode(self.objects[name]["spec"]["request"])

    def issue(self, name: str, certificate_pem: bytes) -> None:
        """Put a certificate into the status, as the operator does."""
        self.objects[name]["status"] = {"certificate": base64.b64encode(certificate_pem).decode()}

    def deny(self, name: str, kind: str, message: str) -> None:
        """Deny a request, or say that signing failed."""
        self.objects[name]["status"] = {"conditions": [{"type": kind, "reason": "NotAMember", "message": message}]}

    async def _create(self, request: web.Request) -> web.Response:
        early = await self._early(request)
        if early is not None:
            return early
        body = await request.json()
        name = body["metadata"]["name"]
        if name in self.objects:
            return web.json_response({"message": "already exists"}, status=409)
        self.objects[name] = body
        self.created.set()
        return web.json_response(body, status=201)

    async def _get(self, request: web.Request) -> web.Response:
        early = await self._early(request)
        if early is not None:
            return early
        found = self.objects.get(request.match_info["name"])
        if found is None:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response(found)

    async def _early(self, request: web.Request) -> web.Response | None:
        self.tokens.append(request.headers["Authorization"])
        return await self.behave(request) if self.behave is not None else None
