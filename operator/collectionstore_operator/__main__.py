"""The operator on Kubernetes: read settings, configure logs, check permissions, acquire the Lease, run kopf."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import click
import kopf
import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from collectionstore_operator import faults, settings
from collectionstore_operator.kubernetes import handlers
from collectionstore_operator.kubernetes.api import ApiError, Kube
from collectionstore_operator.kubernetes.api.client import ConfigException, connect
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.api.lease import Lease
from collectionstore_operator.kubernetes.api.permissions import missing_once_reachable
from collectionstore_operator.kubernetes.backups.loops import BackupLoops
from collectionstore_operator.kubernetes.beside import beside_loops
from collectionstore_operator.kubernetes.caches.caches import Caches
from collectionstore_operator.kubernetes.caches.watched import watches
from collectionstore_operator.kubernetes.clusters import Clusters, LeaderContext
from collectionstore_operator.kubernetes.enrolment import Enrolment
from collectionstore_operator.kubernetes.listing import Lister
from collectionstore_operator.observability import logs
from collectionstore_operator.observability.debugging import Pages
from collectionstore_operator.observability.health import Health, application
from collectionstore_operator.observability.metrics import OperatorMetrics, process_metrics
from collectionstore_operator.observability.tracing.starting import TraceRounds, traced
from collectionstore_operator.settings import InvalidSetting, OperatorSettings
from collectionstore_telemetry.listening import bind_host
from collectionstore_telemetry.logs import LogLevels, attach_to_loop

EXIT_UNAVAILABLE: Final = 69
EXIT_REPLACED: Final = 75
EXIT_NOT_PERMITTED: Final = 77
EXIT_CONFIGURATION: Final = 78

log = structlog.get_logger("collectionstore_operator")


@click.command(
    epilog=f"""\b
Settings are environment variables (defaults in parentheses):
  {settings.NAMESPACES}          namespaces to watch, comma-separated (all)
  {settings.OWN_NAMESPACE}  namespace of the Lease (default)
  {settings.POD_NAME}            holder identity in the Lease (host name and process ID)
  {settings.LEASE_NAME}               name of the Lease (collectionstore-operator)
  {settings.ENROLMENT_BINDING}   ClusterRoleBinding whose subjects are the members' accounts
                                     (not managed)
  {settings.HEALTH_ADDRESS}      address of /livez, /readyz and /metrics (0.0.0.0:8080:
                                     all addresses, IPv4 and IPv6)
  {settings.LOG_LEVEL}           debug, info, warning or error (info); SIGUSR1 sets
                                     debug, SIGUSR2 restores it
  {settings.PROFILING}           Enabled or Disabled: serve profiles on loopback,
                                     GET /debug/profile?seconds=10 (Disabled)
  {settings.KUBECONFIG}                         kubeconfig for running outside a cluster
  OTEL_EXPORTER_OTLP_ENDPOINT        collector for traces, with the other standard OpenTelemetry variables (no traces)

\b
Exit codes:
  0   stopped by SIGTERM or SIGINT
  69  the API server cannot be used, for instance its permission reviews fail
  75  another operator acquired the Lease, or it could not be renewed
  77  a permission is missing; the log names its verb and resource
  78  a setting is invalid, or no API server is configured

\b
Several replicas may run: one holds the Lease and acts, the others stand by. Clusters keep running without any operator.
"""
)
@click.option(
    "--list-fault-points",
    is_flag=True,
    help=f"List the points at which {settings.FAULT_POINT} lets a process die in tests, and exit.",
)
def main(*, list_fault_points: bool) -> None:
    """Reconcile every CollectionStoreCluster resource of a Kubernetes cluster.

    Usually run by its Helm chart. By hand, against the cluster of a kubeconfig:
    KUBECONFIG=~/.kube/config collectionstore-operator
    """
    if list_fault_points:
        click.echo("\n".join(faults.POINTS))
        return
    try:
        chosen = OperatorSettings.from_environment(os.environ)
    except InvalidSetting as error:
        click.echo(f"collectionstore-operator: {error}", err=True)
        sys.exit(EXIT_CONFIGURATION)
    levels = logs.configure(level=chosen.log_level, format_="auto")
    if chosen.fault is not None:
        log.warning("fault.armed", point=chosen.fault.point, effect=chosen.fault.effect)
    with faults.armed(faults.signalling(chosen.fault)):
        code = asyncio.run(run(chosen, levels))
    sys.exit(code)


async def run(chosen: OperatorSettings, levels: LogLevels) -> int:
    """Run until a signal arrives or the Lease is lost; return the exit code."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    attach_to_loop(asyncio.get_running_loop(), levels)
    health, registry = Health(), CollectorRegistry()
    pages = Pages(levels, profiling_allowed=chosen.profiling)
    metrics = process_metrics(registry)
    try:
        traces = traced(chosen.traces, identity=chosen.identity, count=metrics.spans_ended)
        served = _served(health, registry, pages, chosen)
        connected = connect(chosen.kubeconfig, metrics, watches=watches(len(chosen.namespaces)))
        async with served, connected as kube, traces as trace:
            places = chosen.namespaces or (None,)
            lacking = await missing_once_reachable(
                kube,
                namespaces=places,
                own_namespace=chosen.own_namespace,
                enrolment_binding=chosen.enrolment_binding,
                stop=stop,
            )
            for line in lacking:
                log.error("permission.missing", permission=line)
            if lacking:
                return EXIT_NOT_PERMITTED
            return 0 if stop.is_set() else await _lead(kube, chosen, health, metrics, pages, trace, stop)
    except ConfigException as error:
        log.error("api_server.not_configured", reason=str(error))
        return EXIT_CONFIGURATION
    except ApiError as error:
        log.error("api_server.unavailable", reason=str(error))
        return EXIT_UNAVAILABLE


async def _lead(
    kube: Kube,
    chosen: OperatorSettings,
    health: Health,
    metrics: OperatorMetrics,
    pages: Pages,
    trace: TraceRounds,
    stop: asyncio.Event,
) -> int:
    """Acquire the Lease, then run kopf and all loops until it is lost or `stop` is set."""
    lease = Lease(kube, name=chosen.lease, namespace=chosen.own_namespace, identity=chosen.identity, metrics=metrics)
    acquiring, stopping = asyncio.create_task(lease.acquire()), asyncio.create_task(stop.wait())
    await asyncio.wait({acquiring, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not acquiring.done():
        acquiring.cancel()
        return 0
    health.lease_s = lambda: lease.age_s
    epoch = acquiring.result()
    metrics.leads(epoch, lambda: lease.age_s)
    recorder = Recorder(kube, chosen.identity)
    caches = Caches(kube, namespaces=chosen.namespaces)
    context = LeaderContext(
        kube=kube,
        recorder=recorder,
        epoch=epoch,
        holder=f"{chosen.own_namespace}/{chosen.lease}",
        may_act=lambda: lease.holds,
        metrics=metrics,
        enrolment=Enrolment(kube, chosen.enrolment_binding),
        trace=trace,
        caches=caches,
    )
    clusters = Clusters(context)
    backups = beside_loops(kube, recorder, may_act=lambda: lease.holds, metrics=metrics)
    caches.wake = clusters.wake
    health.slowest_loop_s = clusters.slowest_s
    pages.loops = clusters.reports
    keeping = asyncio.create_task(lease.keep())
    watching = asyncio.create_task(_watch(clusters, backups, caches, chosen, health, stop))
    lister = Lister(kube, clusters, namespaces=chosen.namespaces)
    health.listing_s, health.watch_behind_s = lister.silent_s, lister.behind_s
    listing = asyncio.create_task(lister.run())
    try:
        done, _ = await asyncio.wait({keeping, watching, listing}, return_when=asyncio.FIRST_COMPLETED)
        if keeping in done:
            # Without the Lease no action may run: exit without waiting for those in progress.
            log.error("lease.lost", reason=str(keeping.exception()))
            return EXIT_REPLACED
        if listing in done:
            listing.result()  # it never ends by itself
        watching.result()
        await lease.release()
        return 0
    finally:
        stop.set()
        for task in (keeping, watching, listing, stopping):
            task.cancel()
        await asyncio.gather(keeping, watching, listing, stopping, return_exceptions=True)
        metrics.stands_by()
        await backups.close()
        await clusters.close()


async def _watch(
    clusters: Clusters,
    backups: BackupLoops,
    caches: Caches,
    chosen: OperatorSettings,
    health: Health,
    stop: asyncio.Event,
) -> None:
    ready = asyncio.Event()
    health.ready = ready.is_set
    # Without an identity kopf looks up the user name, and in the image user 10001 has none. Any: kopf exports no type.
    identity: Any = chosen.identity
    async with caches:
        # BEFORE kopf starts the loops: the first rounds of all clusters then need few reads.
        await caches.complete(stop)
        await kopf.operator(
            identity=identity,
            registry=handlers.registry(clusters, in_cluster=chosen.kubeconfig is None, backups=backups),
            settings=handlers.settings(),
            standalone=True,
            clusterwide=not chosen.namespaces,
            namespaces=chosen.namespaces,
            stop_flag=stop,
            ready_flag=ready,
        )


@contextlib.asynccontextmanager
async def _served(
    health: Health, registry: CollectorRegistry, pages: Pages, chosen: OperatorSettings
) -> AsyncIterator[None]:
    served = application(health, registry)
    pages.add_to(served)
    runner = web.AppRunner(served, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, bind_host(chosen.health_host), chosen.health_port).start()
        yield
    finally:
        await runner.cleanup()


if __name__ == "__main__":
    main()
