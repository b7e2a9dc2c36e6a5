"""A Secret of the user with the certificate for clients: used by every member, and renewed without a restart."""

from __future__ import annotations

import base64
from typing import Any, Final

from cryptography import x509

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import SECRET, Object, condition
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.kube.pki import Authority, Pair
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store

NAME: Final = "store.example.org"
LOADED_S: Final = 240.0
"""Twice the two minutes in which a kubelet updates a mounted Secret."""
SHOWN: Final = """
import socket, ssl, sys, time
from cryptography import x509
name, wanted, until = sys.argv[1], int(sys.argv[2], 16), time.monotonic() + float(sys.argv[3])
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
while True:
    plain = socket.create_connection(("127.0.0.1", 7400), 10)
    with context.wrap_socket(plain, server_hostname=name) as tls:
        found = x509.load_der_x509_certificate(tls.getpeercert(True)).serial_number
    if found == wanted or time.monotonic() > until:
        sys.exit(f"{name}: {found:x} is shown, not {wanted:x}" if found != wanted else 0)
    time.sleep(1)
"""
"""Waits until the member shows a certificate with this serial number to a client that asks for this name."""


@scenario(timeout_s=900)
async def clients_get_the_certificate_of_a_secret(context: Context) -> None:
    """Clients that ask for its name see it on every member, and its renewal; the operator needs none of it."""
    authority = Authority()
    async with operator(context):
        store = Store(context)
        first = authority.issue("public", hosts=[NAME])
        await context.client.create({**_secret(first), "apiVersion": "v1", "kind": "Secret"})
        await store.apply(tls={"clientSecretName": "public", "dnsNames": ["other.example.org"]})
        await store.until_settled(3, timeout_s=READY_S)
        pods = {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()}
        async with clients(context) as load:
            await load.working()
            for member in MEMBERS:
                await _until_shown(context, member, first)
            second = authority.issue("public", hosts=[NAME])
            await context.client.patch(SECRET, "public", _secret(second))
            for member in MEMBERS:
                await _until_shown(context, member, second)
            await load.working()
        found = await store.until_settled(3)
        assert condition(found, "CertificatesReady") == "True"
        assert {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()} == pods


async def _until_shown(context: Context, member: str, pair: Pair) -> None:
    """Wait until a member shows a certificate to clients that ask for its name."""
    serial = f"{x509.load_pem_x509_certificate(pair.certificate).serial_number:x}"
    command = ("python3", "-c", SHOWN, NAME, serial, f"{LOADED_S}")
    await context.kubectl.exec(member, *command, timeout_s=LOADED_S + 60)


def _secret(pair: Pair) -> Object:
    data: dict[str, Any] = {"tls.crt": pair.certificate, "tls.key": pair.key}
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"name": "public"}, "type": "kubernetes.io/tls", "data": encoded}
