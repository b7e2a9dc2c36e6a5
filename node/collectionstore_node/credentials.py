"""A node's certificate on Kubernetes: nothing is opened before there is one, and it is renewed ever after."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import structlog

from collectionstore_node.api.waiting import make_waiting_server
from collectionstore_node.enrolment import ApiServer, Enrolment, KeyPairFiles
from collectionstore_node.errors import StorageFailed
from collectionstore_node.listening import start_server
from collectionstore_node.settings import Address, Settings
from collectionstore_node.tasks import cancelled
from collectionstore_node.transport import PeerName, identity_uri

log = structlog.get_logger()


async def keep_certificate(stack: AsyncExitStack, settings: Settings, stop: asyncio.Event) -> bool:
    """Wait for a usable certificate, and keep it so until `stack` ends; return False when `stop` came first.

    Where settings name no API server, the certificate is somebody else's concern. Raises `CredentialsUnusable`,
    `AddressTaken`, or `StorageFailed` when the pair cannot be stored.
    """
    if settings.api_server is None:
        return True
    enrolment = _enrolment(settings, settings.api_server)
    if not await _enrolled(settings, enrolment, stop):
        return False
    keeping = asyncio.create_task(enrolment.keep(), name="enrolment")
    keeping.add_done_callback(_tell_end)
    stack.push_async_callback(cancelled, keeping)
    return True


def _enrolment(settings: Settings, api_server: Address) -> Enrolment:
    account = settings.service_account_dir
    identity = PeerName(settings.cluster_id, settings.name)
    return Enrolment(
        ApiServer(f"https://{api_server}", ca_file=account / "ca.crt", token_file=account / "token"),
        KeyPairFiles(settings.tls_dir, identity_uri(identity)),
        settings.trust_file,
        name=f"{settings.namespace}-{settings.name}",
        now=time.time,
    )


async def _enrolled(settings: Settings, enrolment: Enrolment, stop: asyncio.Event) -> bool:
    """Wait for a usable certificate, and say at the probes what for; return False when a signal came first."""
    async with AsyncExitStack() as stack:
        server = make_waiting_server(lambda: f"waiting for a certificate: {enrolment.obstacle}")
        await start_server(stack, server, settings.metrics_address, "metrics and probes", None)
        ensuring = asyncio.create_task(enrolment.ensure(), name="first certificate")
        stack.push_async_callback(cancelled, ensuring)
        stopping = asyncio.create_task(stop.wait(), name="signal")
        stack.push_async_callback(cancelled, stopping)
        await asyncio.wait((ensuring, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not ensuring.done():
            return False
        try:
            ensuring.result()
        except OSError as error:
            raise StorageFailed(f"the certificate cannot be kept in {settings.tls_dir}: {error}") from error
        return True


def _tell_end(keeping: asyncio.Task[None]) -> None:
    """Log what ended the renewal of certificates: the node goes on with the one it has."""
    if not keeping.cancelled() and (error := keeping.exception()) is not None:
        log.error("enrolment.failed", exc_info=error)
