"""The fault proxy: a background process that stands between the members of one local cluster. Started by csctl.

It follows faults.json: it has a link for every ordered pair of members, leads each member to its links by the member's
routes file, and gives every link the fault asked for. When faults.json is gone, the cluster is to stop, or its folder
was deleted, it takes the routes back and ends: no fault survives `down`, `up` or `heal`.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from pathlib import Path

import structlog

from collectionstore_local.faults.link_faults import ProxyReport, Wanted, forget_routes, read_wanted, write_report
from collectionstore_local.faults.links import Link
from collectionstore_local.processes.port_allocation import HOST, node_ports
from collectionstore_local.processes.process import own_name
from collectionstore_local.state.directory import ClusterDirectory, read_json, write_json
from collectionstore_local.state.intent import Intent, read_intent
from collectionstore_local.state.supervisor_lock import try_lock
from collectionstore_operator.observability import logs
from collectionstore_operator.resource.desired import Desired, Runtime, parse

POLL_S = 0.02
LEAVE_S = 0.5
"""How long the proxy still stands after it has taken its routes back: longer than nodes take to notice."""

log = structlog.get_logger(__name__)


class FaultProxy:
    """Links between all members of one cluster, as faults.json wants them."""

    def __init__(self, directory: ClusterDirectory, randomness: random.Random) -> None:
        self._directory = directory
        self._me = own_name()
        self._random = randomness
        self._links: dict[tuple[str, str], Link] = {}
        self._seen: tuple[object, ...] = ()
        self._generation = 0
        self._reported: ProxyReport | None = None
        self._ending = False

    def end(self) -> None:
        """Take the routes back and return from `run`."""
        self._ending = True

    async def run(self) -> None:
        """Follow faults.json until faults are over."""
        try:
            while not self._ending and self._goes_on():
                await self._look()
                await asyncio.sleep(POLL_S)
        except FileNotFoundError as error:
            log.info("folder.deleted", file=error.filename)
        finally:
            forget_routes(self._directory)
            await asyncio.sleep(LEAVE_S)
            for link in self._links.values():
                link.close()

    def _goes_on(self) -> bool:
        directory = self._directory
        return directory.faults.exists() and directory.resource.exists() and read_intent(directory) is Intent.RUNNING

    async def _look(self) -> None:
        """Follow what has changed since the last look, and report."""
        directory = self._directory
        seen = (directory.faults.stat().st_ino, directory.resource.stat().st_ino, directory.node_names())
        if seen != self._seen:
            wanted = read_wanted(directory)
            if wanted is not None:
                await self._follow(wanted)
            self._seen = seen
        self._report()

    async def _follow(self, wanted: Wanted) -> None:
        desired = parse(read_json(self._directory.resource), runtime=Runtime.LOCAL)
        names = {*self._directory.node_names(), *(desired.member(number) for number in range(desired.spec.replicas))}
        for source in sorted(names):
            for target in sorted(names - {source}):
                await self._have_link(desired, source, target)
        for (source, target), link in self._links.items():
            link.use(wanted.on(source, target))
        self._lead()
        if wanted.generation != self._generation:
            log.info("faults.changed", generation=wanted.generation, faults=[str(fault) for fault in wanted.links])
        self._generation = wanted.generation

    async def _have_link(self, desired: Desired, source: str, target: str) -> None:
        ordinal = desired.ordinal(target)
        if ordinal is None or (source, target) in self._links:
            return
        link = Link((HOST, node_ports(desired.spec.local, ordinal).peer), self._random)
        await link.start(HOST)
        self._links[source, target] = link

    def _lead(self) -> None:
        """Lead every member that has a folder to its links."""
        for source in self._directory.node_names():
            routes = {target: f"{HOST}:{link.port}" for (one, target), link in self._links.items() if one == source}
            path = self._directory.node(source).routes
            if read_json(path) != routes:
                write_json(path, routes, durable=False)

    def _report(self) -> None:
        connections: dict[str, dict[str, int]] = {}
        for (source, target), link in self._links.items():
            connections.setdefault(source, {})[target] = len(link)
        report = ProxyReport(process=self._me, generation=self._generation, connections=connections)
        if report != self._reported:
            write_report(self._directory, report)
            self._reported = report


async def stand(proxy: FaultProxy) -> None:
    """Run until faults are over, or until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, proxy.end)
    await proxy.run()


def main() -> None:
    """Run `python -m collectionstore_local.faults.proxy CLUSTER_DIRECTORY`; ends at once when there is one."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m collectionstore_local.faults.proxy CLUSTER_DIRECTORY")
    directory = ClusterDirectory(Path(sys.argv[1]).absolute())
    logs.configure(cluster=directory.name)
    with open(directory.proxy_lock, "ab") as file:
        if not try_lock(file):
            log.info("proxy.unneeded", reason="another one stands already")
            return
        log.info("proxy.started")
        asyncio.run(stand(FaultProxy(directory, random.Random())))
    log.info("proxy.ended")


if __name__ == "__main__":
    main()
