"""Upgrade a local cluster from an older commit to this checkout, member by member, and back.

The cluster starts with the older commit's csctl, supervisor and nodes. Then this checkout's supervisor takes over; the
members are upgraded one after the other, the leader last; versions lead each other, scale and exchange snapshots while
they are mixed; at the end all members are downgraded and upgraded again by the operator's own rollout. Clients read and
write all the time; their history must be linearizable, and every acknowledged write must be there.

Examples:
  python -m collectionstore_upgrade                       from the oldest commit that upgrades are promised from
  python -m collectionstore_upgrade --from v0.1.0 --keep  from a tag; keep the cluster's files
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import aiohttp

from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import CSCTL, STATE_PARENT, LocalCluster, local_cluster
from collectionstore_testkit.clusters.node_status import Nodes
from collectionstore_testkit.errors import ToolUnavailable
from collectionstore_testkit.histories.checker import check
from collectionstore_testkit.recorded_load import PromiseBroken, RecordedLoad
from collectionstore_testkit.tools import older_version
from collectionstore_testkit.tools.older_version import OlderVersion
from collectionstore_upgrade.programs import Programs
from collectionstore_upgrade.rollout import Rollout, UpgradeFailed
from collectionstore_upgrade.walk import REPLICAS, Walk

NAME: Final = "upgrade"
BASE_PORT: Final = 22_400
NODE_COMMAND: Final = "COLLECTIONSTORE_NODE_COMMAND"
CLIENTS: Final = 8
RATE: Final = 400.0
SNAPSHOT_COMMANDS: Final = 1_000
"""The least that is allowed, so that new members need a snapshot."""


@dataclass(frozen=True, slots=True)
class Options:
    """What one run does."""

    commits: tuple[str, ...]
    seed: int
    base_port: int
    keep: bool


def parse_options(arguments: Sequence[str]) -> Options:
    """Return the options of the command line; exits with 2 and a message when they are not valid."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_upgrade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--from",
        dest="commits",
        action="append",
        metavar="COMMIT",
        help=f"where to upgrade from, any number of times (default: {older_version.FIRST[:7]})",
    )
    parser.add_argument("--seed", type=int, help="what the clients' operations are drawn from (default: a random one)")
    parser.add_argument(
        "--base-port", type=int, default=BASE_PORT, help=f"first port of the nodes (default: {BASE_PORT})"
    )
    parser.add_argument("--keep", action="store_true", help="keep the cluster's files")
    given = parser.parse_args(arguments)
    seed = random.SystemRandom().randrange(1 << 31) if given.seed is None else given.seed
    return Options(tuple(given.commits or [older_version.FIRST]), seed, given.base_port, given.keep)


def main() -> int:
    """Run one upgrade for each commit; return 0 if all kept every promise, 1 otherwise, 69 if a tool is missing."""
    options = parse_options(sys.argv[1:])
    failed = 0
    for commit in options.commits:
        try:
            faults = asyncio.run(upgrade(commit, options))
        except ToolUnavailable as error:
            print(error, file=sys.stderr)
            return 69
        print(*faults or [f"upgraded from {commit[:12]}: no promise was broken"], sep="\n")
        failed += bool(faults)
    print(f"{len(options.commits) - failed} passed, {failed} failed")
    return 1 if failed else 0


async def upgrade(commit: str, options: Options) -> list[str]:
    """Upgrade from one commit; return what went wrong. Raises ToolUnavailable."""
    older = older_version.check_out(commit)
    print(f"from {older.revision[:12]} to this checkout; seed {options.seed}")
    older.install()
    faults: list[str] = []
    load: RecordedLoad | None = None
    folder = tempfile.TemporaryDirectory(prefix="collectionstore-programs-", dir=STATE_PARENT)
    programs = Programs.create(Path(folder.name), older.python)
    try:
        async with (
            local_cluster(
                replicas=REPLICAS,
                base_port=options.base_port,
                # Replaced by hand alone: a member that is downgraded refuses its data, and would be replaced for it.
                spec={"snapshot": {"commands": SNAPSHOT_COMMANDS}, "failedMember": {"replacement": "Manual"}},
                keep=options.keep,
                environment={NODE_COMMAND: str(programs.launcher)},
                name=NAME,
                program=older.csctl,
            ) as cluster,
            aiohttp.ClientSession() as session,
        ):
            load = RecordedLoad(lambda: cluster.urls(REPLICAS), seed=options.seed, clients=CLIENTS, rate=RATE)
            await _walk(cluster, programs, Nodes(session), load, older)
    except (UpgradeFailed, ClusterFailed, PromiseBroken) as error:
        faults.append(f"{type(error).__name__}: {error}")
    finally:
        if load is not None:
            await load.close()
        folder.cleanup()
    return [*faults, *_verdict(load)]


async def _walk(
    cluster: LocalCluster, programs: Programs, nodes: Nodes, load: RecordedLoad, older: OlderVersion
) -> None:
    # The older csctl has started the cluster; from here on this checkout's runs it.
    rollout = Rollout(replace(cluster, program=CSCTL), programs, nodes)
    async with load.working():
        await Walk(rollout, load, older, print).run()
    await rollout.until(lambda: rollout.agree(REPLICAS), "all members hold the same state")
    await load.read_all()


def _verdict(load: RecordedLoad | None) -> list[str]:
    """Return what the clients' history says against the cluster."""
    if load is None:
        return []
    began = time.monotonic()
    history = load.history
    verdict = check(history)
    print(f"{len(history):,} operations ({load.counts()}), checked in {time.monotonic() - began:.1f} s")
    return [] if verdict.ok else [f"the history is {verdict.linearizable.value}:\n{verdict.explanation}"]


if __name__ == "__main__":
    sys.exit(main())
