"""Sets up tracing, and the metrics that belong to no part of the node: process and certificates."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING

from collectionstore_node import __version__
from collectionstore_node.api.http.instruments import TraceOperation, TraceRequest
from collectionstore_node.metrics import TracingSeries
from collectionstore_node.replica import NULL_OBSERVER, CertificateStatus, DriverObserver, TlsStatus
from collectionstore_node.security.client_tls import ClientTls
from collectionstore_node.settings import Settings
from collectionstore_node.transport import CertificateFacts, PeerSecurity
from collectionstore_telemetry.metrics import Metrics
from collectionstore_telemetry.tracing.lifecycle import exporting

if TYPE_CHECKING:
    from collectionstore_node.tracing.exporting import Exporting
    from collectionstore_node.tracing.spans import Tracing


async def open_tracing(stack: AsyncExitStack, settings: Settings, metrics: Metrics) -> Tracing | None:
    """Export spans when the environment names a receiver; `stack` closes the exporter after all that makes spans."""
    open_exporter = partial(_open_exporting, settings, TracingSeries(metrics))
    exported = await stack.enter_async_context(exporting(settings.traces, open_exporter))
    return exported.tracing if exported is not None else None


def tracing_observer(tracing: Tracing | None) -> DriverObserver:
    """Return the observer that makes spans of commands, entries and reads; it does nothing without `tracing`."""
    if tracing is None:
        return NULL_OBSERVER
    from collectionstore_node.replica.observation.tracing_observer import TracingObserver

    return TracingObserver(tracing)


def request_tracing(tracing: Tracing | None) -> TraceRequest | None:
    """Return what begins the spans of client requests; None without `tracing`."""
    if tracing is None:
        return None
    from collectionstore_node.tracing.requests import serve

    return partial(serve, tracing)


def operation_tracing(tracing: Tracing | None) -> TraceOperation | None:
    """Return what begins the spans of operations of streams; None without `tracing`."""
    if tracing is None:
        return None
    from collectionstore_node.tracing.requests import serve_operation

    return partial(serve_operation, tracing)


def certificate_report(peers: PeerSecurity, clients: ClientTls | None) -> TlsStatus:
    """Return the certificates in use, for `/status`."""
    # The client port reloads after the peer port: what only one of them trusts is not trusted yet, or not any more.
    trusted = [one for one in peers.trusted if clients is None or one in clients.trusted]
    shown = None if clients is None else _certificate_status(clients.certificate)
    given = None if clients is None or clients.given is None else _certificate_status(clients.given)
    return TlsStatus(
        peers=_certificate_status(peers.certificate),
        clients=shown,
        trusted=trusted,
        given=given,
        peer_trusted=list(peers.trusted),
        client_trusted=[] if clients is None else list(clients.trusted),
    )


def _certificate_status(facts: CertificateFacts) -> CertificateStatus:
    begin, end = int(facts.not_before.timestamp()), int(facts.not_after.timestamp())
    return CertificateStatus(begin, end, facts.serial, facts.authority)


def export_certificate_expiry(metrics: Metrics, peers: PeerSecurity, clients: ClientTls | None) -> None:
    """Export when the certificates in use expire: of the peer port, of the client port, and of the authorities.

    `authority` is the one of the peer port, `client_authority` that of the client port, which is the same one unless
    they are separated. `given` is that of the user, if the node has begun with one.
    """
    _export_validity(metrics, "peers", lambda: peers.certificate)
    _export_validity(metrics, "authority", lambda: peers.authority)
    if clients is not None:
        _export_validity(metrics, "clients", lambda: clients.certificate)
        _export_validity(metrics, "client_authority", lambda: clients.authority)
    if clients is not None and clients.given is not None:
        _export_validity(metrics, "given", lambda: clients.given or clients.certificate)


def _export_validity(metrics: Metrics, purpose: str, facts: Callable[[], CertificateFacts]) -> None:
    def lifetime_s() -> float:
        found = facts()
        return (found.not_after - found.not_before).total_seconds()

    metrics.gauge("tls_certificate_expiry_timestamp_seconds", purpose).set_function(
        lambda: facts().not_after.timestamp()
    )
    metrics.gauge("tls_certificate_lifetime_seconds", purpose).set_function(lifetime_s)


def _open_exporting(settings: Settings, series: TracingSeries) -> Exporting:
    # Imported here, in a thread: the exporter takes half a second to import, and nodes without tracing never do.
    from collectionstore_node.tracing.exporting import SERVICE_NAME, open_exporting

    resource = {
        "service.name": SERVICE_NAME,
        "service.namespace": settings.cluster_id,
        "service.instance.id": settings.name,
        "service.version": __version__,
    }
    return open_exporting(resource, series.count, spans_max=settings.traces.queue_spans_max)
