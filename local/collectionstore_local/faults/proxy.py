"""The fault proxy: a background process that forwards the traffic between the members of one local cluster.

Started by csctl. It follows faults.json: it opens a link for every ordered pair of members, directs each member to its
links through its routes file, and sets the desired fault on every link. When faults.json is deleted, the cluster is to
stop, or its directory is deleted, it deletes the routes and exits: no fault survives `down`, `up` or `heal`.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

import structlog

from collectionstore_local.faults.link_faults import (
    DesiredFaults,
    ProxyReport,
    delete_routes,
    read_desired_faults,
    write_report,
)
from collectionstore_local.faults.links import Link
from collectionstore_local.processes.port_allocation import HOST, member_ports
from collectionstore_local.processes.process import own_identity
from collectionstore_local.state.directory import ClusterDirectory, read_json, write_json
from collectionstore_local.state.run_state import RunState, read_run_state
from collectionstore_local.state.supervisor_lock import try_lock
from collectionstore_operator.observability import logs
from collectionstore_operator.resource.desired import Desired, Runtime, parse

POLL_S = 0.02
DRAIN_S = 0.5
"""How long the proxy forwards after it has deleted the routes: longer than nodes take to notice."""

log = structlog.get_logger(__name__)


class FaultProxy:
    """The links between all members of one cluster, with the faults of faults.json."""

    def __init__(self, directory: ClusterDirectory, randomness: random.Random) -> None:
        self._directory = directory
        self._identity = own_identity()
        self._random = randomness
        self._links: dict[tuple[str, str], Link] = {}
        self._seen: tuple[object, ...] = ()
        self._generation = 0
        self._reported: ProxyReport | None = None
        self._stopping = False

    def stop(self) -> None:
        """Delete the routes and return from `run`."""
        self._stopping = True

    async def run(self) -> None:
        """Follow faults.json until it is deleted."""
        try:
            while not self._stopping and self._should_run():
                await self._sync()
                await asyncio.sleep(POLL_S)
        except FileNotFoundError as error:
            log.info("folder.deleted", file=error.filename)
        finally:
            # BEFORE the links close: members that still had a route would see refused connections after the fault.
            delete_routes(self._directory)
            await asyncio.sleep(DRAIN_S)
            for link in self._links.values():
                link.close()

    def _should_run(self) -> bool:
        directory = self._directory
        return (
            directory.faults.exists() and directory.resource.exists() and read_run_state(directory) is RunState.RUNNING
        )

    async def _sync(self) -> None:
        """Apply what has changed since the last call, and write proxy.json."""
        directory = self._directory
        seen = (directory.faults.stat().st_ino, directory.resource.stat().st_ino, directory.node_names())
        if seen != self._seen:
            faults = read_desired_faults(directory)
            if faults is not None:
                await self._apply(faults)
            self._seen = seen
        self._report()

    async def _apply(self, faults: DesiredFaults) -> None:
        desired = parse(read_json(self._directory.resource), runtime=Runtime.LOCAL)
        groups = (desired, desired.reads())
        started = (group.member(number) for group in groups for number in range(group.spec.replicas))
        names = {*self._directory.node_names(), *started}
        for source in sorted(names):
            for target in sorted(names - {source}):
                await self._ensure_link(desired, source, target)
        for (source, target), link in self._links.items():
            link.set_fault(faults.fault_on(source, target))
        # AFTER every link listens and has its fault: a route must not lead to a port without a listener.
        self._write_routes()
        if faults.generation != self._generation:
            log.info("faults.changed", generation=faults.generation, faults=[str(fault) for fault in faults.links])
        self._generation = faults.generation

    async def _ensure_link(self, desired: Desired, source: str, target: str) -> None:
        ports = member_ports(desired, target)
        if ports is None or (source, target) in self._links:
            return
        link = Link((HOST, ports.peer), self._random)
        await link.start(HOST)
        self._links[source, target] = link

    def _write_routes(self) -> None:
        """Direct every member that has a directory to its links."""
        for source in self._directory.node_names():
            routes = {target: f"{HOST}:{link.port}" for (one, target), link in self._links.items() if one == source}
            path = self._directory.node(source).routes
            if read_json(path) != routes:
                write_json(path, routes, durable=False)

    def _report(self) -> None:
        connections: dict[str, dict[str, int]] = {}
        for (source, target), link in self._links.items():
            connections.setdefault(source, {})[target] = len(link)
        report = ProxyReport(process=self._identity, generation=self._generation, connections=connections)
        if report != self._reported:
            write_report(self._directory, report)
            self._reported = report


async def run_until_stopped(proxy: FaultProxy) -> None:
    """Run until faults.json is deleted, or until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, proxy.stop)
    await proxy.run()


def main() -> None:
    """Run `python -m collectionstore_local.faults.proxy CLUSTER_DIRECTORY`; exits if one runs already."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m collectionstore_local.faults.proxy CLUSTER_DIRECTORY")
    directory = ClusterDirectory(Path(sys.argv[1]).absolute())
    logs.configure(cluster=directory.name)
    with open(directory.proxy_lock, "ab") as file:
        if not try_lock(file):
            log.info("proxy.unneeded", reason="another one is running already")
            return
        log.info("proxy.started")
        asyncio.run(run_until_stopped(FaultProxy(directory, random.Random())))
    log.info("proxy.ended")


if __name__ == "__main__":
    main()
