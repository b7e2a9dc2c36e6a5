"""Wiring: opens storage, starts member, transport, driver and servers, and stops them in reverse.

Nothing is decided here. `run` returns after SIGTERM or SIGINT, or raises the fatal error that stopped the node.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import structlog
from aiohttp import hdrs, web

from collectionstore_node import __version__
from collectionstore_node.allocator import GIVE_BACK_S, give_back
from collectionstore_node.api import make_client_server, make_probe_server, make_waiting_server
from collectionstore_node.api.http.instruments import Diagnostics
from collectionstore_node.errors import NodeError, StorageFailed
from collectionstore_node.lifecycle import (
    NO_MEMORY,
    Bounds,
    ServeHttp,
    cancel_and_wait,
    end_without_memory,
    open_port,
    serve_http,
)
from collectionstore_node.logs import SlowLog
from collectionstore_node.memory import MemoryBudget
from collectionstore_node.metrics import (
    ExpirySeries,
    HttpSeries,
    IndexSeries,
    PortSeries,
    ReplicaMetrics,
    TransportSeries,
    WatchSeries,
    WriteSeries,
    member_metrics,
    stored_series,
)
from collectionstore_node.observability import (
    certificate_report,
    export_certificate_expiry,
    open_tracing,
    operation_tracing,
    request_tracing,
    tracing_observer,
)
from collectionstore_node.part_settings import (
    budget,
    client_hosts,
    descriptors,
    http_limits,
    metrics_bounds,
    metrics_hosts,
    process_facts,
    replica_settings,
    settled_peer_security,
    slow_thresholds,
    storage_limits,
    storage_tuning,
    transport_identity,
    transport_settings,
)
from collectionstore_node.ports import MakePort, Port, PortLimits, PortMetrics, Uncounted, raise_limit
from collectionstore_node.recovery import Instruction, NewIdentity, recover
from collectionstore_node.replica import (
    Clocks,
    Driver,
    LocalMember,
    MemberGauges,
    PeerHandler,
    RecordingObserver,
    Replica,
)
from collectionstore_node.replica.persistence.worker import Worker, WorkerThread
from collectionstore_node.replica.storage_port import Storage
from collectionstore_node.security.admin_token import AdminToken
from collectionstore_node.security.client_tls import ClientTls, is_operator
from collectionstore_node.security.node_certificate import keep_certificate
from collectionstore_node.service import Expirer, HistoryKeeper, IndexBuilder, Store, StoreLimits, TokenUses
from collectionstore_node.settings import Settings
from collectionstore_node.space import SpaceLimits
from collectionstore_node.storage import Database, Tuning
from collectionstore_node.transport import (
    PeerSecurity,
    RouteOverrides,
    Transport,
    TransportEnvironment,
    TransportOptions,
    tcp_connector,
)
from collectionstore_telemetry.logs import LogLevels, attach_to_loop
from collectionstore_telemetry.logs.uncaught import in_loop
from collectionstore_telemetry.metrics import Exposition, Metrics, process_collectors
from collectionstore_telemetry.profiling import Profiler

if TYPE_CHECKING:
    from collectionstore_node.tracing.spans import Tracing

log = structlog.get_logger()

TLS_RELOAD_S = 2.0
ROUTES_RELOAD_S = 0.1
GC_THRESHOLD = 50_000
SHUTDOWN_TRANSFER_S = 1.0


@dataclass(frozen=True, slots=True)
class HostEnvironment:
    """What a member takes from the machine it runs on; a simulation has its own."""

    random: Callable[[], float]
    """In [0, 1); spreads elections and retries."""
    wall_ms: Callable[[], int]
    """The time that a leader stamps into entries, in milliseconds since 1970 UTC."""
    clock: Callable[[], float]
    """Monotonic, in seconds; preferably one that advances while the machine is suspended."""
    connector: Callable[[], aiohttp.BaseConnector]
    """Makes the connector that dials other members."""
    pid: int
    levels: LogLevels = field(default_factory=LogLevels)
    peer_port: MakePort = Port
    """Makes the port that members dial; a simulation has no sockets."""
    serve: ServeHttp = serve_http
    """Opens a port for HTTP; a simulation has no sockets."""
    worker: Callable[[str], Worker] = WorkerThread
    """Makes a thread that syncs; a simulation has none."""


class RunningMember(NamedTuple):
    """A started member, and the task that drives it until it fails or is cancelled."""

    driving: asyncio.Task[None]
    local: LocalMember
    replica: Replica
    transport: Transport


async def run(settings: Settings, levels: LogLevels) -> None:
    """Run a node until SIGTERM or SIGINT. Raises `Fatal`, `AddressInUse`, `CredentialsUnusable` or `NodeError`."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    attach_to_loop(loop, levels)
    loop.set_exception_handler(_in_loop)
    before, limit = raise_limit()
    log.info("descriptors.limited", limit=limit, before=before)
    async with AsyncExitStack() as stack:
        database = await loop.run_in_executor(None, _open, settings)
        stack.callback(database.close)
        # Imported modules live as long as the process; without freezing them every full collection walks all of them
        # and stalls the loop. Freezing takes some 80 ms: BEFORE the member serves, where it delays no client.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_THRESHOLD, 50, 100)
        if not await keep_certificate(
            stack, settings, database.identity.node_id, stop, partial(_serve_waiting, settings)
        ):
            return
        security = await settled_peer_security(settings)
        member = await start(stack, settings, database, security, _host_environment(levels))
        giving_back = asyncio.create_task(_give_memory_back(), name="memory")
        giving_back.add_done_callback(partial(_ended, member.local))
        stack.push_async_callback(cancel_and_wait, giving_back)
        if settings.peer_routes is not None:
            routing = asyncio.create_task(_reload_routes(member.transport), name="routes")
            routing.add_done_callback(partial(_ended, member.local))
            stack.push_async_callback(cancel_and_wait, routing)
        log.info(
            "node.started",
            version=__version__,
            node_id=f"{database.identity.node_id:016x}",
            new=database.created,
            client=str(settings.client_address),
            peer=str(settings.peer_address),
            metrics=str(settings.metrics_address),
        )
        # Objects allocated at start-up live as long as the process, too.
        gc.freeze()
        stopping = asyncio.create_task(stop.wait(), name="signal")
        await asyncio.wait((member.driving, stopping), return_when=asyncio.FIRST_COMPLETED)
        if member.driving.done():
            stopping.cancel()
            if isinstance(error := member.driving.exception(), NO_MEMORY):
                end_without_memory("driver", error)
            member.driving.result()
        log.info("node.stopping")
        await transfer_on_shutdown(member.replica)


def _open(settings: Settings) -> Database:
    """Open the data directory; blocks. Raises as `Database.open`, and `MemoryTooSmall`."""
    try:
        limits = storage_limits(settings)
    except OSError as error:
        raise StorageFailed(f"open {settings.data_dir}: {error}") from error
    tuning = storage_tuning(budget(settings), limits, descriptors(settings))
    if settings.recover:
        _recover(settings, tuning, limits)
    return Database.open(
        settings.data_dir, cluster_id=settings.cluster_id, name=settings.name, tuning=tuning, limits=limits
    )


def _recover(settings: Settings, tuning: Tuning, limits: SpaceLimits) -> None:
    """Recover the data directory from a lost quorum, if the instruction names this member and it was not done yet."""
    instruction = Instruction.parse(settings.recover)
    if instruction.name != settings.name:
        return
    new = NewIdentity(settings.cluster_id, settings.peer_advertise, settings.client_advertise)
    recovered = recover(settings.data_dir, instruction, new, tuning=tuning, limits=limits)
    log.info(
        "directory.recovered",
        nonce=instruction.nonce,
        node_id=recovered.node_id,
        index=recovered.applied_index,
        revision=recovered.revision,
        already=recovered.already,
    )


async def start(
    stack: AsyncExitStack, settings: Settings, storage: Storage, security: PeerSecurity, environment: HostEnvironment
) -> RunningMember:
    """Start a member on its data; `stack` stops it in reverse. Raises `AddressInUse` or `NodeError`."""
    loop = asyncio.get_running_loop()
    # What was written before a crash may still be in memory only, and the core counts everything in the log as durable.
    await loop.run_in_executor(None, storage.log.sync)
    metrics = member_metrics(enabled=settings.metrics == "Enabled")
    metrics.set_info("build", version=__version__, cluster_id=settings.cluster_id, member=settings.name)
    series = ReplicaMetrics(metrics)
    slow = SlowLog(slow_thresholds(settings), loop.time)
    tracing = await open_tracing(stack, settings, metrics)
    # Every object is complete when it is made, and knows only those made before it:
    # local member -> handler -> transport -> driver -> replica -> servers.
    observer = RecordingObserver(series, slow, loop.time, tracing_observer(tracing))
    clocks = Clocks(environment.random, environment.wall_ms, environment.clock)
    memory = budget(settings)
    configured = replica_settings(settings, memory, storage.space_limits)
    local = LocalMember(storage, configured, series, clocks, observer, environment.worker)
    stack.callback(local.close)
    recorded = TransportSeries(metrics, series.snapshots)
    transport = _transport(settings, memory, local, security, recorded, PortSeries(metrics), environment)
    driver = Driver(local, transport)
    stack.push_async_callback(driver.close)
    tls = None if settings.client_tls == "Disabled" else _client_tls(settings)
    facts = process_facts(settings, environment.pid, partial(certificate_report, security, tls))
    replica = Replica(local, driver, transport, facts)
    stack.push_async_callback(replica.close)
    MemberGauges(local, driver, transport, metrics)
    # BEFORE the driver runs: a member that cannot be reached must not campaign.
    stack.push_async_callback(transport.close)
    await open_port(transport.start(), settings.peer_address, "peers")
    driving = asyncio.create_task(driver.run(), name="driver")
    stack.push_async_callback(cancel_and_wait, driving)
    export_certificate_expiry(metrics, security, tls)
    exposition = Exposition(metrics, process=process_collectors(), blocking=stored_series(storage))
    stack.callback(exposition.close)
    diagnostics = Diagnostics(environment.levels, slow, Profiler() if settings.profiling == "Enabled" else None)
    builder = IndexBuilder(replica, IndexSeries(metrics), loop.time, asyncio.sleep)
    building = asyncio.create_task(builder.run(), name="indexes")
    building.add_done_callback(partial(_ended, local))
    stack.push_async_callback(cancel_and_wait, building)
    expirer = Expirer(replica, ExpirySeries(metrics), loop.time, asyncio.sleep)
    expiring = asyncio.create_task(expirer.run(), name="expiry")
    expiring.add_done_callback(partial(_ended, local))
    stack.push_async_callback(cancel_and_wait, expiring)
    keeping = asyncio.create_task(HistoryKeeper(replica, asyncio.sleep).run(), name="history")
    keeping.add_done_callback(partial(_ended, local))
    stack.push_async_callback(cancel_and_wait, keeping)
    await _serve(stack, settings, replica, metrics, exposition, tls, tracing, diagnostics, environment.serve)
    reloading = asyncio.create_task(_reload_certificates(transport, tls), name="certificates")
    reloading.add_done_callback(partial(_ended, local))
    stack.push_async_callback(cancel_and_wait, reloading)
    return RunningMember(driving, local, replica, transport)


def _transport(
    settings: Settings,
    memory: MemoryBudget,
    local: LocalMember,
    security: PeerSecurity,
    series: TransportSeries,
    ports: PortMetrics,
    environment: HostEnvironment,
) -> Transport:
    """Make the transport of a member, whose messages go to `local`."""
    return Transport(
        transport_identity(settings, local.identity.node_id),
        PeerHandler(local),
        security,
        series,
        TransportOptions(
            local.storage.spool,
            settings=transport_settings(settings, memory),
            overrides=RouteOverrides(settings.peer_routes),
            missing_bytes=local.storage.missing_bytes,
        ),
        TransportEnvironment(
            environment.random, environment.connector, environment.clock, environment.peer_port, ports
        ),
    )


def _host_environment(levels: LogLevels) -> HostEnvironment:
    return HostEnvironment(
        random=random.SystemRandom().random,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        clock=_suspend_aware_clock(),
        connector=tcp_connector,
        pid=os.getpid(),
        levels=levels,
    )


async def transfer_on_shutdown(replica: Replica) -> None:
    """Transfer leadership BEFORE the process exits, if a follower can take over: clients are spared an election."""
    if not replica.is_leader:
        return
    try:
        await replica.transfer_leadership(None, timeout_s=SHUTDOWN_TRANSFER_S)
    except NodeError as error:
        log.info("leadership.kept", reason=str(error))


def _suspend_aware_clock() -> Callable[[], float]:
    """Return a monotonic clock that advances while the machine is suspended, if the platform has one.

    The event loop's own, CLOCK_MONOTONIC, does not: a leader would take an hour of suspension for an instant. When a
    hypervisor freezes a virtual machine, no clock advances; check-quorum and the quorum round of every read cover that.
    """
    if sys.platform == "linux":
        return partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    return time.monotonic


async def _serve(
    stack: AsyncExitStack,
    settings: Settings,
    replica: Replica,
    metrics: Metrics,
    exposition: Exposition,
    tls: ClientTls | None,
    tracing: Tracing | None,
    diagnostics: Diagnostics,
    serve: ServeHttp,
) -> None:
    store_limits = StoreLimits(
        document_bytes_max=settings.document_bytes_max, value_bytes_max=settings.document_bytes_max
    )
    store, limits = Store(replica, store_limits, asyncio.get_running_loop().time), http_limits(budget(settings))
    # Stopped BEHIND the servers, whose requests it works for, and BEFORE storage, which it reads.
    stack.callback(store.queries.close)
    stack.callback(store.watches.close)
    noting = asyncio.create_task(TokenUses(store.access, asyncio.sleep).run(), name="tokens")
    noting.add_done_callback(_report)
    stack.push_async_callback(cancel_and_wait, noting)
    series = HttpSeries(metrics, inflight_max=store_limits.inflight_requests_max)
    WriteSeries(metrics, store.writes)
    WriteSeries(metrics, store.stream_writes, prefix="stream_")
    WatchSeries(metrics, store.watches)
    clients = make_client_server(
        store,
        limits,
        series,
        render_metrics=exposition.render,
        authorize_admin=_authorize_admin(settings, tls),
        admin_token=tls is None and settings.admin_token_file is not None,
        tls=tls is not None,
        trace=request_tracing(tracing),
        trace_operation=operation_tracing(tracing),
        diagnostics=diagnostics,
        is_ours=client_hosts(settings),
    )
    probes = make_probe_server(store, limits, series, render_metrics=exposition.render, is_ours=metrics_hosts(settings))
    counted, shares = PortSeries(metrics), descriptors(settings)
    per_address = min(settings.address_connections_max, shares.clients_max)
    bounds = Bounds("clients", PortLimits(shares.clients_max, per_address), counted)
    await serve(stack, clients, settings.client_address, bounds, tls.listening if tls else None)
    await serve(stack, probes, settings.metrics_address, metrics_bounds(shares, counted), None)


async def _serve_waiting(settings: Settings, stack: AsyncExitStack, reason: Callable[[], str]) -> None:
    """Serve the probes of a node that waits for its certificate."""
    server = make_waiting_server(reason, is_ours=metrics_hosts(settings))
    bounds = metrics_bounds(descriptors(settings), Uncounted())
    await serve_http(stack, server, settings.metrics_address, bounds, None)


def _in_loop(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what the loop reports; without memory the process ends, as nobody else catches that."""
    if isinstance(error := context.get("exception"), NO_MEMORY):
        end_without_memory("event loop", error)
    in_loop(loop, context)


def _client_tls(settings: Settings) -> ClientTls:
    return ClientTls(settings.client_tls_dir, name=settings.name, given=settings.client_certificate_dir)


def _is_operator(cluster_id: str, tls: ClientTls, request: web.BaseRequest) -> bool:
    if not is_operator(cluster_id, request.get_extra_info("peercert")):
        return False
    session = request.get_extra_info("ssl_object")
    return session is not None and tls.still_trusts(session.getpeercert(binary_form=True))


def _authorize_admin(settings: Settings, tls: ClientTls | None) -> Callable[[web.BaseRequest], bool]:
    """Return what decides whether a client may change the cluster: by its certificate, or on loopback by the token."""
    if tls is not None:
        return partial(_is_operator, settings.cluster_id, tls)
    if settings.admin_token_file is not None:
        return partial(_has_token, AdminToken(settings.admin_token_file))
    log.warning("admin.open", address=str(settings.client_address))
    return _anyone


def _has_token(token: AdminToken, request: web.BaseRequest) -> bool:
    return token.matches(request.headers.get(hdrs.AUTHORIZATION, ""))


def _anyone(_request: web.BaseRequest) -> bool:
    """Admit every client: without client TLS, which is allowed on loopback only, and without a token."""
    return True


def _report(task: asyncio.Task[None]) -> None:
    """Log the failure of a task without which the member serves as well."""
    if not task.cancelled() and (error := task.exception()) is not None:
        task.get_loop().call_exception_handler({"message": f"the task {task.get_name()} failed", "exception": error})


def _ended(local: LocalMember, task: asyncio.Task[None]) -> None:
    """End the member when a task that should run as long as it does has failed: nobody would notice otherwise."""
    if not task.cancelled() and (error := task.exception()) is not None:
        local.wakeup.fail(error)


async def _reload_certificates(transport: Transport, clients: ClientTls | None) -> None:
    while True:
        await asyncio.sleep(TLS_RELOAD_S)
        await transport.reload_tls()
        if clients is not None:
            # In a thread: the files are read, and keys are parsed.
            await asyncio.to_thread(clients.reload)


async def _give_memory_back() -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(GIVE_BACK_S)
        await loop.run_in_executor(None, give_back)


async def _reload_routes(transport: Transport) -> None:
    while True:
        await asyncio.sleep(ROUTES_RELOAD_S)
        await transport.reload_routes()
