"""Sets up the audit log and the limits of a member: what is asked and told of every request of the client port."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial

from collectionstore_node import __version__
from collectionstore_node.api.http.accounting import Accounting, Places
from collectionstore_node.api.stream.settings import ALL_OPERATIONS_MAX
from collectionstore_node.audit import Auditor
from collectionstore_node.audit.chain import Origin
from collectionstore_node.audit.opening import Surroundings, open_audit
from collectionstore_node.metrics import RefusedSeries, SinkSeries
from collectionstore_node.quotas import Limiter, Shares
from collectionstore_node.replica import AuditSinkStatus, AuditStatus
from collectionstore_node.service import Store
from collectionstore_node.service.rates import AppliedLimits
from collectionstore_node.settings import InvalidSetting, Settings
from collectionstore_telemetry.metrics import Metrics

SERVICE_NAME = "collectionstore-node"
CHAIN_BYTES = 8


async def open_auditor(
    stack: AsyncExitStack,
    settings: Settings,
    metrics: Metrics,
    around: Surroundings,
    ended: Callable[[asyncio.Task[None]], object],
) -> Auditor | None:
    """Return the audit log of a member, None if it is off; `stack` ends it behind all that is recorded.

    Raises `InvalidSetting` if OpenTelemetry's variables cannot be used.
    """
    resource = {
        "service.name": SERVICE_NAME,
        "service.namespace": settings.cluster_id,
        "service.instance.id": settings.name,
        "service.version": __version__,
    }
    try:
        return await open_audit(
            stack,
            settings.audit,
            Origin(settings.cluster_id, settings.name),
            partial(SinkSeries, metrics),
            around,
            resource,
            chain=secrets.token_hex(CHAIN_BYTES),
            ended=ended,
        )
    except ValueError as error:
        # Of OpenTelemetry's variables: a log that is asked for and not kept would be noticed when it is needed.
        allowed = f"Disabled, or variables of OpenTelemetry that can be used: {error}"
        raise InvalidSetting("AUDIT_OTLP", "Enabled", allowed) from None


def audit_status(auditor: Auditor | None) -> AuditStatus | None:
    """Return the sinks of the audit log, for `/status`."""
    if auditor is None:
        return None
    return AuditStatus([AuditSinkStatus(**one._asdict()) for one in auditor.sinks])


def accounting(
    store: Store,
    auditor: Auditor | None,
    metrics: Metrics,
    wall_ms: Callable[[], int],
) -> Accounting:
    """Return what is asked and told of every request."""
    clock = asyncio.get_running_loop().time
    limiter = Limiter(clock)
    places = Places(
        Shares(lambda: store.limits.inflight_requests_max),
        Shares(lambda: store.writes.limit),
        Shares(lambda: ALL_OPERATIONS_MAX),
        Shares(lambda: store.stream_writes.limit),
    )

    def refused() -> dict[str, int]:
        return {**limiter.refused, "share": sum(one.refused for one in places)}

    RefusedSeries(metrics, refused, None if auditor is None else lambda: auditor.refused)
    return Accounting(auditor, limiter, AppliedLimits(store.access, clock).current, places, wall_ms, clock)
