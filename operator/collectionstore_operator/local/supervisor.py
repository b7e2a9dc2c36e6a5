"""The supervisor: the background process that keeps one local cluster as its resource says. Started by csctl.

It takes charge or ends at once, begins a new epoch, adopts the nodes that run, and goes round the loop. SIGTERM ends
it and leaves the nodes running; the intent Stopped stops the nodes, the leader last, and then ends it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import structlog

from collectionstore_operator import logs
from collectionstore_operator.local.charge import AlreadySupervised, listen, take_charge
from collectionstore_operator.local.errors import ExitCode, LocalError
from collectionstore_operator.local.intent import Intent, read_intent
from collectionstore_operator.local.runtime import LocalRuntime
from collectionstore_operator.local.state import ClusterDirectory
from collectionstore_operator.node_client import NodeClient
from collectionstore_operator.reconcile import Reconciler
from collectionstore_operator.settings import InvalidSetting, Settings

log = structlog.get_logger(__name__)


class Supervisor:
    """Runs the loop of one cluster until it is told to end."""

    def __init__(self, directory: ClusterDirectory, settings: Settings) -> None:
        self._directory = directory
        self._settings = settings
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Look after the cluster; returns after SIGTERM, or when the nodes were stopped as intended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._ending.set)
        async with NodeClient() as client:
            runtime = LocalRuntime(
                self._directory, client, node_command=self._settings.node_command, changed=self._on_change
            )
            self._reconciler = Reconciler(runtime)
            stop_listening = listen(self._directory, self._on_poke)
            try:
                await self._look_after(runtime)
            finally:
                stop_listening()
                await runtime.release()

    async def _look_after(self, runtime: LocalRuntime) -> None:
        if read_intent(self._directory) is Intent.STOPPED:
            self._ending.set()
        runtime.take_over(start_wanted=not self._ending.is_set())
        rounds = asyncio.create_task(self._reconciler.run())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({rounds, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (rounds, ending):
                task.cancel()
            await asyncio.gather(rounds, ending, return_exceptions=True)
        gone = not self._directory.resource.exists()
        if gone or read_intent(self._directory) is Intent.STOPPED:
            # Nodes of a folder that somebody deleted must not run on, holding ports of a cluster that is no more.
            await runtime.stop_nodes()
            log.info("nodes.stopped", reason="the resource is gone" if gone else "asked to")

    def _on_change(self) -> None:
        self._reconciler.wake()

    def _on_poke(self) -> None:
        if read_intent(self._directory) is Intent.STOPPED:
            self._ending.set()
        self._reconciler.wake()


def main() -> None:
    """Run `python -m collectionstore_operator.local.supervisor CLUSTER_DIRECTORY`."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m collectionstore_operator.local.supervisor CLUSTER_DIRECTORY")
    directory = ClusterDirectory(Path(sys.argv[1]).absolute())
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSetting as error:
        sys.exit(str(error))
    logs.configure(level=settings.log_level)
    logs.bind(cluster=directory.name)
    try:
        charge = take_charge(directory)
    except AlreadySupervised as error:
        log.info("supervisor.unneeded", reason=str(error))
        return
    log.info("supervisor.started", pid=os.getpid(), node_command=settings.node_command)
    try:
        asyncio.run(Supervisor(directory, settings).run())
    except LocalError as error:
        log.error("supervisor.failed", reason=str(error))
        sys.exit(int(ExitCode.FAILED))
    finally:
        charge.close()
    log.info("supervisor.ended")


if __name__ == "__main__":
    main()
