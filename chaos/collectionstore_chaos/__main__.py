"""Chaos on real processes: see --help and README.md."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import aiohttp
import uvloop
from rich.console import Console

from collectionstore_chaos.budget import Budget
from collectionstore_chaos.cluster import NAME, Cluster
from collectionstore_chaos.lab import Lab
from collectionstore_chaos.members import await_ready, compare
from collectionstore_chaos.options import Options, parse_options
from collectionstore_chaos.report import Faults, Result
from collectionstore_chaos.schedule import NEED_SHIM, Schedule
from collectionstore_chaos.screen import Screen
from collectionstore_chaos.verdict import HISTORY, judge, keep
from collectionstore_testkit.bank_load import BankLoad
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import LocalCluster, make_folder
from collectionstore_testkit.clusters.members import Members
from collectionstore_testkit.clusters.node_status import Nodes
from collectionstore_testkit.faults.disks import SmallDisks
from collectionstore_testkit.faults.links import Links
from collectionstore_testkit.faults.shim import NoCompiler, Powerless, Shim
from collectionstore_testkit.recorded_load import PromiseBroken, RecordedLoad

ORDINALS_MAX = 9
BANK_CLIENTS = 6
CALM_S = 2.0
"""The workload continues for this long after the last fault, so that a run ends with a working cluster."""
BEAT_S = 0.5


class Run:
    """One run, from an empty folder to its result."""

    def __init__(self, options: Options, folder: Path, screen: Screen) -> None:
        self.options = options
        self.folder = folder
        self.schedule = Schedule(options.seed, options.only)
        self.started = False
        """Whether the cluster came up, so that what goes wrong from then on is its fault."""
        self.result = Result(
            seed=options.seed,
            nodes=options.nodes,
            minutes=options.minutes,
            kinds=self.schedule.kinds,
            at_once=self.schedule.at_once,
            disk_full_by="",
            disks_max=Budget(options.nodes).disks_max,
        )
        self._screen = screen

    async def carry_out(self) -> None:
        """Start a cluster, break it, and fill in the result. Raises ClusterFailed or NoCompiler."""
        options, folder = self.options, self.folder
        names = tuple(f"{NAME}-{ordinal}" for ordinal in range(ORDINALS_MAX))
        shim = Shim(folder, names, needed=not NEED_SHIM.isdisjoint(self.schedule.kinds))
        small = SmallDisks(folder)
        async with aiohttp.ClientSession() as session:
            local = LocalCluster(folder, options.base_port, shim.environment, NAME)
            cluster = Cluster(local, Members(local), Nodes(session), options.nodes)
            load = RecordedLoad(
                lambda: cluster.local.urls(cluster.size), seed=options.seed, clients=options.clients, rate=options.rate
            )
            bank = BankLoad(lambda: cluster.local.urls(cluster.size), seed=options.seed, clients=BANK_CLIENTS)
            links = Links(cluster.members)
            lab = Lab(cluster, links, shim, small, Budget(options.nodes), load.writes, self._screen.event)
            try:
                self._give_small_disks(lab)
                lab.report("run", f"starting {options.nodes} members on 127.0.0.1:{options.base_port}, {folder}")
                await cluster.start()
                self.started = True
                lab.links.start_proxy()
                await self._break(lab, load, bank if options.bank else None)
            except (ClusterFailed, PromiseBroken) as error:
                if not self.started:
                    raise
                self.result.broken.append(str(error))
            finally:
                shim.clear()
                await load.close()
                await bank.close()
                self.result.transactions = dict(bank.outcomes)
                await local.stop(keep=True)
                shim.close()
                self._judge(lab, load)
                if not self.result.good or options.keep:
                    small.keep(folder)
                small.close()

    async def _break(self, lab: Lab, load: RecordedLoad, bank: BankLoad | None) -> None:
        """Work on the cluster while it is broken, until it is whole again, and compare its members."""
        options = self.options
        lab.report(
            "run", f"seed {options.seed}: {', '.join(self.schedule.kinds)}; up to {self.schedule.at_once} concurrently"
        )
        lab.began = time.monotonic()
        until = lab.began + 60 * options.minutes
        beating = asyncio.create_task(self._beat(lab, load, until))
        try:
            async with load.working(), bank.working() if bank is not None else nullcontext():
                await self._strain(lab, until)
            await load.read_all()
            if bank is not None:
                lab.report("run", "checking the bank")
                await bank.check()
            lab.report("run", "comparing the members")
            self.result.compared_keys, different = await compare(lab.cluster)
            self.result.broken += [f"members disagree about {line}" for line in different]
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _strain(self, lab: Lab, until: float) -> None:
        """Have faults until the monotonic moment `until`; return when every one is over and the cluster is Ready."""
        try:
            await self.schedule.run(lab, until)
        finally:
            lab.shim.clear()
            await lab.links.heal()
        lab.report("run", "every fault is over")
        await await_ready(lab.cluster)
        lab.report("run", "Ready")
        await asyncio.sleep(CALM_S)

    def _give_small_disks(self, lab: Lab) -> None:
        """Put as many members on small disks as may be damaged concurrently: memory is quicker than a disk to sync."""
        lab.cluster.members.create_directory()
        names = lab.cluster.founders()[: lab.budget.disks_max]
        given = [name for name in names if lab.small.give(name, lab.cluster.members.data(name))]
        if given:
            self.result.disk_full_by = f"a small tmpfs that is filled ({', '.join(given)}), for others the shim"
        else:
            self.result.disk_full_by = f"the shim's ENOSPC; no tmpfs can be mounted here ({lab.small.refusal})"

    def _judge(self, lab: Lab, load: RecordedLoad) -> None:
        """Keep what was recorded, and have it checked. The cluster is stopped: the check needs the processor."""
        result, history = self.result, load.history
        result.faults = {kind: Faults(count, lab.seconds[kind]) for kind, count in lab.injected.items()}
        result.not_possible = self.schedule.refused
        result.most_damaged = lab.budget.most_damaged
        if history:
            lab.report("run", f"checking the history of {len(history):,} operations")
            keep(self.folder, history, lab.events)
            judge(result, history, lab.began, lab.began + 60 * self.options.minutes)

    async def _beat(self, lab: Lab, load: RecordedLoad, until: float) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            elapsed_s = min(time.monotonic(), until) - lab.began
            self._screen.progress(elapsed_s, load.counts())


async def run(options: Options) -> int:
    """Carry out one run and print its result; return the exit code."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    folder = make_folder(NAME, options.folder)
    with Screen(60 * options.minutes) as screen:
        this = Run(options, folder, screen)
        try:
            await this.carry_out()
        except (ClusterFailed, aiohttp.ClientError, OSError) as error:
            print(f"error: {error}\nkept: {folder}", file=sys.stderr)
            return 1
        except asyncio.CancelledError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except (NoCompiler, Powerless) as error:
            shutil.rmtree(folder, ignore_errors=True)
            print(f"error: {error}", file=sys.stderr)
            return 1
    show(this, options)
    if this.result.good and not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        print(f"kept: {folder}\ncheck it again: {_again(folder)}\nrun it again: {_repeat(options)}", file=sys.stderr)
    return 0 if this.result.good else 3


def show(this: Run, options: Options) -> None:
    """Print the result, and keep it beside the history."""
    text = json.dumps(this.result.as_json(), indent=2)
    (this.folder / "result.json").write_text(text)
    if options.output == "json":
        print(text)
    else:
        this.result.show(Console(highlight=False, soft_wrap=True))


def _again(folder: Path) -> str:
    return shlex.join([sys.executable, "-m", "collectionstore_testkit.histories.check", str(folder / HISTORY)])


def _repeat(options: Options) -> str:
    words = [sys.executable, "-m", "collectionstore_chaos", "--seed", str(options.seed)]
    words += ["--minutes", f"{options.minutes:g}", "--nodes", str(options.nodes)]
    words += ["--only", ",".join(options.only)] if options.only else []
    words += ["--bank"] if options.bank else []
    return shlex.join(words)


def main() -> int:
    """Run; return the exit code."""
    options = parse_options()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(run(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; the cluster is stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
