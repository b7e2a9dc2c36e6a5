"""The node's certificate on Kubernetes: nothing is served before there is one; it is renewed while the node runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TypeAlias

import structlog

from collectionstore_node.errors import StorageFailed
from collectionstore_node.lifecycle import cancel_and_wait
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.security.enrolment import Enrolment
from collectionstore_node.security.key_pair import Holder, KeyPairFiles
from collectionstore_node.security.signing_requests import ApiServer
from collectionstore_node.settings import Address, Settings
from collectionstore_node.transport import PeerName, identity_uri, node_uri

log = structlog.get_logger()

ServeProbes: TypeAlias = Callable[[AsyncExitStack, Callable[[], str]], Awaitable[None]]
"""Serves the probes of a node that waits, until the stack ends; the function returns what it waits for."""


async def keep_certificate(
    stack: AsyncExitStack, settings: Settings, node_id: NodeId, stop: asyncio.Event, serve_probes: ServeProbes
) -> bool:
    """Wait for a usable certificate and keep it usable until `stack` ends; return False when `stop` came first.

    Does nothing when the settings name no API server: then the files are managed from outside. Raises
    `CredentialsUnusable`, what `serve_probes` raises, or `StorageFailed` when the pair cannot be stored.
    """
    if settings.api_server is None:
        return True
    enrolment = _enrolment(settings, settings.api_server, node_id)
    if not await _enrolled(settings, enrolment, stop, serve_probes):
        return False
    renewing = asyncio.create_task(enrolment.keep(), name="enrolment")
    renewing.add_done_callback(_log_end)
    stack.push_async_callback(cancel_and_wait, renewing)
    return True


def _enrolment(settings: Settings, api_server: Address, node_id: NodeId) -> Enrolment:
    account = settings.service_account_dir
    identity = identity_uri(PeerName(settings.cluster_id, settings.name))
    holder = Holder(identity, node_uri(node_id), frozenset(settings.certificate_names))
    return Enrolment(
        ApiServer(f"https://{api_server}", ca_file=account / "ca.crt", token_file=account / "token"),
        KeyPairFiles(settings.tls_dir, holder),
        settings.trust_file,
        name=f"{settings.namespace}-{settings.name}",
        node=holder.node,
        now=time.time,
    )


async def _enrolled(settings: Settings, enrolment: Enrolment, stop: asyncio.Event, serve_probes: ServeProbes) -> bool:
    """Wait for a usable certificate, with the reason on the probes; return False when `stop` came first."""
    # A separate stack: the probes' port must be free again for the server of the running node.
    async with AsyncExitStack() as stack:
        await serve_probes(stack, lambda: f"waiting for a certificate: {enrolment.obstacle}")
        ensuring = asyncio.create_task(enrolment.ensure(), name="first certificate")
        stack.push_async_callback(cancel_and_wait, ensuring)
        stopping = asyncio.create_task(stop.wait(), name="signal")
        stack.push_async_callback(cancel_and_wait, stopping)
        await asyncio.wait((ensuring, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not ensuring.done():
            return False
        try:
            ensuring.result()
        except OSError as error:
            raise StorageFailed(f"cannot store the certificate in {settings.tls_dir}: {error}") from error
        return True


def _log_end(renewing: asyncio.Task[None]) -> None:
    """Log why the renewal of the certificate ended; the node keeps running with the certificate it has."""
    if not renewing.cancelled() and (error := renewing.exception()) is not None:
        log.error("enrolment.failed", exc_info=error)
