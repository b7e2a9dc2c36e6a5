"""Attacks on a local cluster: see --help and README.md."""

from __future__ import annotations

import asyncio
import json
import resource
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import uvloop
from rich.console import Console
from rich.progress import Progress

from collectionstore_attack.attacks import ATTACKS
from collectionstore_attack.bounds import broken
from collectionstore_attack.field import Address, Attack, Field
from collectionstore_attack.options import Options, parse_options
from collectionstore_attack.report import Row, show
from collectionstore_attack.runner import AttackFailed, carry_out
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import HOST, PORT_STEP, LocalCluster, make_folder
from collectionstore_testkit.clusters.members import Members
from collectionstore_testkit.faults.disks import SmallDisks

NAME: Final = "attack"
MEMBERS: Final = 3
PEER_PORT, METRICS_PORT = 1, 2
"""Added to a member's client port."""
PLAIN_WIDTH: Final = 180
"""Of a table that goes into a file."""
HARD_LIMIT_FACTOR: Final = 4
"""The hard limit of descriptors, as a multiple of the soft one: members may raise theirs up to it."""


@asynccontextmanager
async def _cluster(options: Options, *, small_disks: bool) -> AsyncIterator[Field]:
    """Start a cluster with the limits, and stop it at the end. Raises ClusterFailed."""
    folder = make_folder(NAME)
    local = LocalCluster(folder, options.base_port, {}, NAME)
    disks = SmallDisks(folder)
    try:
        if small_disks:
            _give_disks(local, disks)
        await local.start(MEMBERS, {"resources": {"limits": {"memory": options.memory}}})
        yield Field(
            clients=_addresses(options, 0),
            metrics=_addresses(options, METRICS_PORT),
            peers=_addresses(options, PEER_PORT),
            state=folder,
            seconds=options.seconds,
        )
    finally:
        await local.stop(keep=options.keep)
        disks.close()
        if options.keep:
            print(f"kept: {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def _give_disks(local: LocalCluster, disks: SmallDisks) -> None:
    members = Members(local)
    members.create_directory()
    for ordinal in range(MEMBERS):
        name = local.member(ordinal)
        if not disks.give(name, members.data(name)):
            raise ClusterFailed(f"no small disk can be mounted here: {disks.refusal}")


def _addresses(options: Options, offset: int) -> tuple[Address, ...]:
    return tuple(Address(HOST, options.base_port + ordinal * PORT_STEP + offset) for ordinal in range(MEMBERS))


async def run(options: Options, console: Console, rows: list[Row]) -> None:
    """Carry out the attacks, in order, on one cluster, those on disks on another one; append a row for each."""
    attacks = [ATTACKS[name] for name in options.only]
    with Progress(console=console, transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("attacks", total=len(attacks))
        while attacks:
            small_disks = attacks[0].read_only
            async with _cluster(options, small_disks=small_disks) as field:
                while attacks and attacks[0].read_only == small_disks:
                    attack = attacks.pop(0)
                    progress.update(task, description=attack.name)
                    rows.append(await _one(attack, field, options, console))
                    progress.advance(task)
                    if rows[-1].measured.gone:
                        break  # the next attacks get a new cluster


async def _one(attack: Attack, cluster: Field, options: Options, console: Console) -> Row:
    field = Field(cluster.clients, cluster.metrics, cluster.peers, cluster.state, cluster.seconds)
    measured = await carry_out(attack, field, options.memory_bytes)
    row = Row(measured, tuple(broken(measured, timing=options.timing)))
    console.print(f"{attack.name:<22} {'BROKEN: ' + '; '.join(row.broken) if row.broken else 'held'}")
    return row


def limit_open_files(soft: int) -> None:
    """Limit this process and those that it starts."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    most = HARD_LIMIT_FACTOR * soft if hard == resource.RLIM_INFINITY else min(hard, HARD_LIMIT_FACTOR * soft)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, most), most))


def main() -> int:
    """Attack; return the exit code."""
    options = parse_options()
    limit_open_files(options.open_files)
    progress = Console(stderr=True, highlight=False, soft_wrap=True)
    rows: list[Row] = []
    failed = False
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(options, progress, rows))
    except (ClusterFailed, AttackFailed, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        failed = True
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("interrupted; the cluster is stopped", file=sys.stderr)
        return 130
    if options.output == "json":
        print(json.dumps([row.as_json() for row in rows], indent=2))
    else:
        show(
            Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PLAIN_WIDTH),
            rows,
            options.memory_bytes,
        )
    if failed:
        return 1
    return 3 if any(row.broken for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
