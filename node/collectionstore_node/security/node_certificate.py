"""The node's certificates on Kubernetes: nothing is served before they are there; they are renewed while it runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TypeAlias

import structlog

from collectionstore_node.errors import StorageFailed
from collectionstore_node.lifecycle import cancel_and_wait
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.security.enrolment import Enrolment
from collectionstore_node.security.key_pair import Holder, KeyPairFiles
from collectionstore_node.security.signing_requests import ApiServer, Purpose
from collectionstore_node.settings import Address, Settings
from collectionstore_node.transport import PeerName, identity_uri, node_uri

log = structlog.get_logger()

ServeProbes: TypeAlias = Callable[[AsyncExitStack, Callable[[], str]], Awaitable[None]]
"""Serves the probes of a node that waits, until the stack ends; the function returns what it waits for."""


async def keep_certificate(
    stack: AsyncExitStack, settings: Settings, node_id: NodeId, stop: asyncio.Event, serve_probes: ServeProbes
) -> bool:
    """Wait for usable certificates and keep them usable until `stack` ends; return False when `stop` came first.

    There are two where peers and clients have authorities of their own. Does nothing when the settings name no API
    server: then the files are managed from outside. Raises `CredentialsUnusable`, what `serve_probes` raises, or
    `StorageFailed` when a pair cannot be stored.
    """
    if settings.api_server is None:
        return True
    enrolments = _enrolments(settings, settings.api_server, node_id)
    for enrolment, folder in enrolments:
        if not await _enrolled(enrolment, folder, stop, serve_probes):
            return False
    for enrolment, _folder in enrolments:
        renewing = asyncio.create_task(enrolment.keep(), name="enrolment")
        renewing.add_done_callback(_log_end)
        stack.push_async_callback(cancel_and_wait, renewing)
    return True


def _enrolments(settings: Settings, api_server: Address, node_id: NodeId) -> tuple[tuple[Enrolment, Path], ...]:
    """Return what obtains each certificate, and the folder of its pair."""
    one = partial(_enrolment, settings, api_server, node_id)
    if settings.client_trust_file is None:
        return (one(settings.tls_dir, settings.trust_file, Purpose.MEMBER),)
    return (
        one(settings.tls_dir, settings.trust_file, Purpose.PEERS),
        one(settings.client_tls_dir, settings.client_trust_file, Purpose.CLIENTS),
    )


def _enrolment(
    settings: Settings, api_server: Address, node_id: NodeId, folder: Path, trust_file: Path, purpose: Purpose
) -> tuple[Enrolment, Path]:
    account = settings.service_account_dir
    identity = identity_uri(PeerName(settings.cluster_id, settings.name))
    holder = Holder(identity, node_uri(node_id), frozenset(settings.certificate_names))
    enrolment = Enrolment(
        ApiServer(f"https://{api_server}", ca_file=account / "ca.crt", token_file=account / "token"),
        KeyPairFiles(folder, holder),
        trust_file,
        name=f"{settings.namespace}-{settings.name}",
        node=holder.node,
        now=time.time,
        purpose=purpose,
    )
    return enrolment, folder


async def _enrolled(enrolment: Enrolment, folder: Path, stop: asyncio.Event, serve_probes: ServeProbes) -> bool:
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
            raise StorageFailed(f"cannot store the certificate in {folder}: {error}") from error
        return True


def _log_end(renewing: asyncio.Task[None]) -> None:
    """Log why the renewal of the certificate ended; the node keeps running with the certificate it has."""
    if not renewing.cancelled() and (error := renewing.exception()) is not None:
        log.error("enrolment.failed", exc_info=error)
