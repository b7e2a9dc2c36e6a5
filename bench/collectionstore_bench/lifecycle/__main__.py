"""Measure joins, failures, healing, snapshots and restarts on real local processes, against stated bounds."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import aiohttp
import msgspec

from collectionstore_bench.lifecycle.acknowledged import COLLECTION, Writers
from collectionstore_bench.lifecycle.data_trials import measure_compaction, measure_restart, measure_snapshot
from collectionstore_bench.lifecycle.failover import measure_leader_kills
from collectionstore_bench.lifecycle.switchover import measure_switchovers
from collectionstore_bench.lifecycle.trials import (
    Finding,
    Lab,
    load_documents,
    measure_dead_member,
    measure_join,
    measure_kill_of_all,
    measure_partition,
    measure_peers,
    measure_scale_down,
)
from collectionstore_bench.machine import Machine, describe
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.tables import table
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import STATE_PARENT, local_cluster
from collectionstore_testkit.clusters.node_status import Nodes

Trial = Callable[[Lab], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True)
class Stage:
    """Trials that run one after the other on one cluster."""

    name: str
    spec: Mapping[str, object]
    """What the manifest says beyond the size."""
    trials: Mapping[str, Trial]
    profile: str = "default"
    """That of spec.raft."""


SNAPSHOT_COMMANDS = 1000
"""The least a manifest allows, so that a new member cannot be served from the log and needs a snapshot."""
NEVER_COMPACTED = {"commands": 100_000_000, "logBytes": 16 << 30}

STAGES = (
    Stage(
        "default profile",
        {"snapshot": {"commands": SNAPSHOT_COMMANDS}, "unsafe": {"allowSingleReplica": True}},
        {
            "peers": measure_peers,
            "dead-member": measure_dead_member,
            "partition": measure_partition,
            "leader-kills": measure_leader_kills,
            "switchover": measure_switchovers,
            "kill-all": measure_kill_of_all,
            "join": measure_join,
            "scale-down": measure_scale_down,
        },
    ),
    Stage(
        # Its ticks are 3 ms apart, so that the event loop's lag is measured to 3 ms as well.
        "fast profile",
        {"raft": {"profile": "fast"}, "snapshot": {"commands": SNAPSHOT_COMMANDS}},
        {"fast-leader-kills": measure_leader_kills, "snapshot": measure_snapshot},
        profile="fast",
    ),
    Stage(
        "long log",
        {"snapshot": NEVER_COMPACTED},
        {"restart": measure_restart, "compaction": measure_compaction},
    ),
)
TRIALS = tuple(name for stage in STAGES for name in stage.trials)
NEED_NO_DOCUMENTS = frozenset({"peers", "switchover", "fast-leader-kills", "restart", "compaction"})
START_SIZE = 3

EXAMPLES = f"""trials, in this order: {", ".join(TRIALS)}

examples:
  .venv/bin/python -m collectionstore_bench.lifecycle                     everything, about eight minutes
  .venv/bin/python -m collectionstore_bench.lifecycle --kills 5           faster, with a worse idea of the worst case
  .venv/bin/python -m collectionstore_bench.lifecycle --only join         how long a new member takes
  .venv/bin/python -m collectionstore_bench.lifecycle -o json             for other programs

Writers run during most trials; every write they got acknowledged is read back at the end. The exit code is 0 when
every bound is met, 3 when one is missed, 1 when the cluster failed. What is measured and how: bench/README.md."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is to be measured."""

    trials: tuple[str, ...]
    kills: int
    switchovers: int
    documents: int
    writers: int
    writes_per_second: float
    base_port: int
    output: str
    keep: bool


def parse_options(arguments: Sequence[str] | None = None) -> Options:
    """Parse the command line; exits with 2 and a message when it is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_bench.lifecycle",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--only", action="append", choices=TRIALS, default=None, help="run this trial; may be repeated")
    add("--kills", type=_positive, default=20, help="how often the leader is killed (default: 20)")
    add("--switchovers", type=_positive, default=20, help="how often leadership is transferred (default: 20)")
    add("--documents", type=_positive, default=10_000, help="how many 1 KiB documents there are (default: 10000)")
    add("--writers", type=_positive, default=8, help="how many writers write at the same time (default: 8)")
    add("--rate", type=_positive, default=200, help="writes per second of all writers together (default: 200)")
    add("--base-port", type=_positive, default=21_600, metavar="PORT", help="of the first member (default: 21600)")
    add("-o", "--output", choices=("table", "json"), default="table", help="json: everything, for other programs")
    add("--keep", action="store_true", help="stop the cluster at the end but keep its files, logs among them")
    given = parser.parse_args(arguments)
    return Options(
        trials=tuple(name for name in TRIALS if given.only is None or name in given.only),
        kills=given.kills,
        switchovers=given.switchovers,
        documents=given.documents,
        writers=given.writers,
        writes_per_second=float(given.rate),
        base_port=given.base_port,
        output=given.output,
        keep=given.keep,
    )


async def run(options: Options) -> bool:
    """Run the trials and print what was found; return whether every bound is met."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    machine = describe(STATE_PARENT)
    findings: list[Finding] = []
    try:
        async with aiohttp.ClientSession() as session:
            for stage in STAGES:
                wanted = [name for name in stage.trials if name in options.trials]
                if wanted:
                    async for finding in _run_stage(options, stage, wanted, session):
                        findings.append(finding)
                        say(f"  {finding.what}: {_shown(finding.value, finding.unit)}")
    except ClusterFailed:
        show(options, machine, findings)
        raise
    show(options, machine, findings)
    return all(finding.met for finding in findings)


async def _run_stage(
    options: Options, stage: Stage, wanted: Sequence[str], session: aiohttp.ClientSession
) -> AsyncIterator[Finding]:
    say(f"starting {START_SIZE} members on 127.0.0.1:{options.base_port}: {stage.name}")
    started = time.monotonic()
    async with local_cluster(
        replicas=START_SIZE, base_port=options.base_port, spec=stage.spec, keep=options.keep
    ) as cluster:
        if stage is STAGES[0]:
            yield Finding("three members Ready, from nothing", time.monotonic() - started, "s")
        lab = Lab(
            cluster=cluster,
            nodes=Nodes(session),
            size=START_SIZE,
            writers=Writers(session, lambda: lab.urls, count=options.writers, per_second=options.writes_per_second),
            documents=options.documents,
            kills=options.kills,
            switchovers=options.switchovers,
            profile=stage.profile,
            say=say,
        )
        async for finding in _run_trials(lab, stage, wanted):
            yield finding


async def _run_trials(lab: Lab, stage: Stage, wanted: Sequence[str]) -> AsyncIterator[Finding]:
    url, _ = await lab.leader()
    async with lab.nodes.session.put(f"{url}/api/v1/collections/{COLLECTION}") as response:
        response.raise_for_status()
    loaded = False
    for name in wanted:
        if name not in NEED_NO_DOCUMENTS and not loaded:
            say(f"writing {lab.documents} documents")
            await load_documents(lab)
            loaded = True
        say(f"trial: {name}")
        for finding in await stage.trials[name](lab):
            yield finding
    if not lab.writers.acknowledged:
        return
    say(f"reading {len(lab.writers.acknowledged)} acknowledged writes back")
    verdict = await lab.writers.verify()
    retried = ", ".join(f"{count} x {cause}" for cause, count in sorted(lab.writers.retried.items())) or "none"
    what = f"{stage.name}: "
    yield Finding(
        what + "acknowledged writes missing at the end", verdict.missing, "", 0, f"{verdict.checked} read back"
    )
    yield Finding(what + "acknowledged writes with other content or revision", verdict.different, "", 0)
    yield Finding(
        what + "writes never acknowledged", lab.writers.given_up, "", 0, f"attempts that were repeated: {retried}"
    )


def show(options: Options, machine: Machine, findings: Sequence[Finding]) -> None:
    """Print the results."""
    if options.output == "json":
        rows = [asdict(finding) | {"met": finding.met} for finding in findings]
        print(
            msgspec.json.format(
                json.dumps({"machine": asdict(machine), "settings": asdict(options), "findings": rows}), indent=2
            )
        )
        return
    rows_of_text = [
        (
            finding.what,
            _shown(finding.value, finding.unit),
            "" if finding.bound is None else _shown(finding.bound, finding.unit),
            "" if finding.bound is None else ("met" if finding.met else "MISSED"),
            finding.note,
        )
        for finding in findings
    ]
    print("\n".join([*machine.lines(), ""]))
    print(table(("what", "measured", "bound", "", "note"), rows_of_text, right=(1, 2)))
    missed = sum(not finding.met for finding in findings)
    print(f"\n{missed} bounds missed" if missed else "\nevery bound met")


def _shown(value: float, unit: str) -> str:
    return f"{value:.{3 if unit == 's' else 2}f} {unit}" if unit else f"{value:g}"


def _positive(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r}; allowed: a whole number from 1 to 1000000")
    return int(text)


def main() -> int:
    """Run; return the exit code: 0 every bound met, 3 one missed, 1 the cluster failed, 130 interrupted."""
    options = parse_options()
    return exit_code(lambda: 0 if on_uvloop(run(options)) else 3, aiohttp.ClientError)


if __name__ == "__main__":
    sys.exit(main())
