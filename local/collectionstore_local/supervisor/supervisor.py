"""The supervisor: the background process that reconciles one local cluster with its resource. Started by csctl.

It acquires the supervisor lock or exits, begins a new epoch, adopts running nodes, and runs the reconcile loop. SIGTERM
stops it and leaves the nodes running; the run state Stopped stops the nodes, the leader last, and then the supervisor.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.backups.loop import BackupLoop
from collectionstore_local.backups.rounds import BackupRounds
from collectionstore_local.backups.runs import Runs
from collectionstore_local.errors import LocalError
from collectionstore_local.processes.port_allocation import HOST
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_local.state.event_journal import EventWriter
from collectionstore_local.state.run_state import RunState, read_run_state
from collectionstore_local.state.supervisor_lock import AlreadySupervised, acquire_supervisor_lock, listen_for_wakeups
from collectionstore_local.supervisor.runtime import LocalRuntime
from collectionstore_operator import faults
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.observability import logs
from collectionstore_operator.observability.metrics import add_metrics, process_metrics
from collectionstore_operator.observability.tracing.starting import traced
from collectionstore_operator.reconcile.loop import Reconciler
from collectionstore_operator.reconcile.node_client import NodeClient
from collectionstore_operator.settings import InvalidSetting, Settings
from collectionstore_telemetry.logs import LogLevels, attach_to_loop

NAMESPACE: Final = "local"
"""The namespace of local clusters in their metrics."""

log = structlog.get_logger(__name__)


class Supervisor:
    """Runs the reconcile loop of one cluster until it is stopped."""

    def __init__(self, directory: ClusterDirectory, settings: Settings, levels: LogLevels) -> None:
        self._directory = directory
        self._settings = settings
        self._levels = levels
        self._stopping = asyncio.Event()
        self._backups = BackupLoop()

    async def run(self) -> None:
        """Reconcile the cluster; return after SIGTERM, or once the nodes are stopped for the run state Stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        attach_to_loop(loop, self._levels)
        async with NodeClient() as client, contextlib.AsyncExitStack() as traces:
            runtime = LocalRuntime(
                self._directory, client, node_command=self._settings.node_command, changed=self._on_change
            )
            registry = CollectorRegistry()
            metrics = process_metrics(registry)
            identity = f"supervisor-{os.getpid()}"
            trace = await traces.enter_async_context(
                traced(self._settings.traces, identity=identity, count=metrics.spans_ended)
            )
            self._reconciler = Reconciler(
                runtime,
                series=metrics.loop(NAMESPACE, self._directory.name),
                trace=trace("", self._directory.name),
            )
            runs = Runs(self._directory, self._backups.wake)
            backups = BackupRounds(self._directory, runs, metrics, EventWriter(self._directory.events).record)
            # BEFORE the run state is read: a `down` in between would otherwise wake nothing, and nodes would start.
            stop_listening = listen_for_wakeups(self._directory, self._on_wake_up)
            try:
                async with _served(registry, await _metrics_port(runtime)):
                    metrics.leads(runtime.take_over(start_desired=self._should_start_nodes()))
                    metrics.show_loops(lambda: 1)
                    runs.recover(time.time())
                    await self._run_until_stopped(runtime, backups)
                    if not self._should_run():
                        # BEFORE the members: a backup of a cluster that stops would fail.
                        await runs.suspend(time.time())
                        await self._stop_nodes(runtime)
            finally:
                stop_listening()
                runs.release()
                await runtime.release()

    def _should_start_nodes(self) -> bool:
        if read_run_state(self._directory) is RunState.STOPPED:
            self._stopping.set()
        return not self._stopping.is_set()

    async def _run_until_stopped(self, runtime: LocalRuntime, backups: BackupRounds) -> None:
        rounds = asyncio.create_task(self._reconciler.run())
        of_backups = asyncio.create_task(self._backups.run(backups, runtime.desired))
        ending = asyncio.create_task(self._stopping.wait())
        tasks = (rounds, of_backups, ending)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _should_run(self) -> bool:
        return self._directory.resource.exists() and read_run_state(self._directory) is RunState.RUNNING

    async def _stop_nodes(self, runtime: LocalRuntime) -> None:
        # Those of a directory that was deleted by hand, too: they hold the ports of a cluster that no longer exists.
        gone = not self._directory.resource.exists()
        await runtime.stop_nodes()
        log.info("nodes.stopped", reason="the resource was deleted" if gone else "the run state is Stopped")

    def _on_change(self) -> None:
        self._reconciler.wake()
        self._backups.wake()

    def _on_wake_up(self) -> None:
        if read_run_state(self._directory) is RunState.STOPPED:
            self._stopping.set()
        self._reconciler.wake()
        self._backups.wake()


async def _metrics_port(runtime: LocalRuntime) -> int | None:
    """Return the port below the members' ports; None while the resource is missing or invalid."""
    try:
        desired = await runtime.desired()
    except InvalidResource:
        return None
    return desired.spec.local.base_port - 1 if desired is not None else None


@contextlib.asynccontextmanager
async def _served(registry: CollectorRegistry, port: int | None) -> AsyncIterator[None]:
    """Serve /metrics meanwhile. The cluster is reconciled without metrics if the port is in use."""
    app = web.Application()
    add_metrics(app, registry)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        if port is None:
            log.warning("metrics.not_served", reason="the resource is not valid")
        else:
            try:
                await web.TCPSite(runner, HOST, port).start()
                log.info("metrics.served", address=f"{HOST}:{port}")
            except OSError as error:
                log.warning("metrics.not_served", address=f"{HOST}:{port}", reason=str(error))
        yield
    finally:
        await runner.cleanup()


def main() -> None:
    """Run `python -m collectionstore_local.supervisor.supervisor CLUSTER_DIRECTORY`."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m collectionstore_local.supervisor.supervisor CLUSTER_DIRECTORY")
    directory = ClusterDirectory(Path(sys.argv[1]).absolute())
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        sys.exit(str(error))
    levels = logs.configure(level=settings.log_level, cluster=directory.name)
    try:
        lock = acquire_supervisor_lock(directory)
    except AlreadySupervised as error:
        log.info("supervisor.unneeded", reason=str(error))
        return
    log.info("supervisor.started", pid=os.getpid(), node_command=settings.node_command)
    if settings.fault is not None:
        log.warning("fault.armed", point=settings.fault.point, effect=settings.fault.effect)
    try:
        with faults.armed(faults.signalling(settings.fault)):
            asyncio.run(Supervisor(directory, settings, levels).run())
    except LocalError as error:
        log.error("supervisor.failed", reason=str(error))
        sys.exit(int(ExitCode.FAILED))
    finally:
        lock.close()
    log.info("supervisor.ended")


if __name__ == "__main__":
    main()
