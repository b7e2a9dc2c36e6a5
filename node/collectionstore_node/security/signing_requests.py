"""One CertificateSigningRequest at the API server: create it, and read its status.

Uses certificates.k8s.io/v1 over HTTP directly: two calls do not need the Kubernetes client in the node's image.
"""

from __future__ import annotations

import base64
import enum
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

from collectionstore_node.errors import NodeError

SIGNER: Final = "collectionstore.io/node"
CALL_TIMEOUT_S: Final = 10.0
_REQUESTS: Final = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
PURPOSE: Final = "collectionstore.io/purpose"
"""Label of a request, where peers and clients have authorities of their own."""
_SERVER: Final = ("digital signature", "server auth")
_BOTH: Final = (*_SERVER, "client auth")


class Purpose(enum.Enum):
    """What a certificate is requested for; it decides which authority signs it."""

    MEMBER = ""
    """Both ports: the cluster has one authority."""
    PEERS = "peers"
    CLIENTS = "clients"


class Refused(Exception):
    """The request was denied, or signing it failed; the text is the signer's. A new request may succeed."""


class CredentialsUnusable(NodeError):
    """The API server's own authority cannot be read: the service account is not mounted as it should be."""


class ApiUnavailable(Exception):
    """No usable response; retry. The text quotes the API server, without credentials."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """The address of the API server and the pod's credentials. The token file is read for every call: it is rotated."""

    url: str
    """For instance `https://10.96.0.1:443`."""
    ca_file: Path
    token_file: Path


class SigningRequests:
    """Calls to one API server. Belongs to one event loop; close it."""

    def __init__(self, server: ApiServer) -> None:
        """Raises `CredentialsUnusable`."""
        self._server = server
        try:
            self._tls = ssl.create_default_context(cafile=str(server.ca_file))
        except OSError as error:
            raise CredentialsUnusable(f"{server.ca_file}: {error.strerror or error}") from error
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S))

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def create(self, name: str, request_pem: bytes, lifetime_s: int, purpose: Purpose) -> None:
        """Create the request `name`, unless it exists. Raises `ApiUnavailable`."""
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name} | ({"labels": {PURPOSE: purpose.value}} if purpose.value else {}),
            "spec": {
                "request": base64.b64encode(request_pem).decode(),
                "signerName": SIGNER,
                "usages": list(_SERVER if purpose is Purpose.CLIENTS else _BOTH),
                "expirationSeconds": lifetime_s,
            },
        }
        # 409 is success: the name contains the key's fingerprint, so the existing request is ours, from a call whose
        # answer was lost.
        await self._call("POST", _REQUESTS, body, also=409)

    async def certificate(self, name: str) -> bytes | None:
        """Return the signed certificate as PEM, or None while there is none.

        Raises `Refused` when the request was denied, failed or was deleted; `ApiUnavailable`.
        """
        found = await self._call("GET", f"{_REQUESTS}/{name}", None, also=404)
        if found is None:
            raise Refused(f"the request {name} was deleted: the API server deletes old ones")
        status = found.get("status") or {}
        for condition in status.get("conditions") or ():
            if condition.get("type") in ("Denied", "Failed"):
                raise Refused(f"{condition.get('reason', condition['type'])}: {condition.get('message', '')}")
        encoded = status.get("certificate")
        return base64.b64decode(encoded) if encoded else None

    async def _call(self, method: str, path: str, body: object, *, also: int) -> dict[str, Any] | None:
        """Return the object in the response, None for the status `also`."""
        try:
            token = self._server.token_file.read_text().strip()
            headers = {"Authorization": f"Bearer {token}"}
            async with self._session.request(
                method, self._server.url + path, json=body, headers=headers, ssl=self._tls
            ) as answer:
                if answer.status == also:
                    return None
                # An error may come from a proxy, in another format than JSON.
                text = await answer.text()
                if answer.status >= 300:
                    raise ApiUnavailable(f"{method} {path}: {answer.status} {_reason(text)}{_hint(answer.status)}")
                return _decoded(text)
        except (OSError, TimeoutError, aiohttp.ClientError) as error:
            raise ApiUnavailable(f"{method} {path}: {type(error).__name__}: {error}") from error


def _decoded(text: str) -> dict[str, Any]:
    try:
        decoded = json.loads(text)
    except ValueError as error:
        raise ApiUnavailable(f"the response is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise ApiUnavailable("the response is not an object")
    return decoded


def _reason(text: str) -> str:
    try:
        return str(_decoded(text).get("message", ""))[:500]
    except ApiUnavailable:
        return text[:200]


def _hint(status: int) -> str:
    if status not in (401, 403):
        return ""
    return "; the pod's service account must be allowed to create and get certificatesigningrequests"
