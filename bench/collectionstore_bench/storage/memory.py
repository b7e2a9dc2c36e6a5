"""What the resident memory of loaded nodes consists of: `python -m collectionstore_bench.storage.memory`.

Three local nodes take writes for some seconds, as in `collectionstore_bench.load`; then `/proc/PID/smaps` of each is
added up by what its mappings hold. `resident` counts code that the nodes share in each of them, `proportional` (PSS)
divides it among them. To compare, `--environment NAME=VALUE` sets a variable for the nodes, and `--csctl`
runs the cluster of another installation.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from collectionstore_bench.load.bench import Bench
from collectionstore_bench.load.options import Options
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.tables import table
from collectionstore_testkit.clusters.local import CSCTL, local_cluster
from collectionstore_testkit.clusters.node_status import Nodes

BASE_PORT = 21_600
ARENA_BYTES = 64 << 20
"""Alignment of the heaps of glibc's arenas: threads other than the first allocate from them."""


def kind_of(name: str, start: int, end: int) -> str:
    """Return what a mapping `[start, end)` of /proc/PID/smaps holds; `name` is empty for anonymous memory."""
    if name == "[heap]":
        return "heap"
    if name.startswith("[stack"):
        return "stacks"
    if name.startswith(("[anon:", "/")) and ".so" not in name and "/bin/" not in name:
        return "files"
    if name:
        return "rocksdb code" if "rocksdict" in name else "code"
    # An arena begins at a multiple of its size, and is committed from there; the rest of it has no access rights.
    return "arenas" if start % ARENA_BYTES == 0 and end - start < ARENA_BYTES else "anonymous"


PROPORTIONAL = "proportional"


def resident(smaps: str) -> Counter[str]:
    """Return resident KiB by kind, and `PROPORTIONAL` of all kinds, from the text of /proc/PID/smaps."""
    found: Counter[str] = Counter()
    kind = ""
    for line in smaps.splitlines():
        fields = line.split(maxsplit=5)
        if "-" in fields[0] and not fields[0].endswith(":"):
            start, _, end = fields[0].partition("-")
            kind = kind_of(fields[5] if len(fields) > 5 else "", int(start, 16), int(end, 16))
        elif fields[0] == "Rss:":
            found[kind] += int(fields[1])
        elif fields[0] == "Pss:":
            found[PROPORTIONAL] += int(fields[1])
    return found


async def measure(options: Options, environment: dict[str, str], csctl: Path) -> list[tuple[str, Counter[str]]]:
    """Return, before the load and after it, the resident KiB by kind of every node."""
    found = []
    async with (
        local_cluster(
            replicas=options.nodes, base_port=options.base_port, environment=environment, program=csctl
        ) as cluster,
        aiohttp.ClientSession() as session,
    ):
        urls = cluster.urls(options.nodes)
        statuses = (await Nodes(session).statuses(urls)).values()
        pids = {status.name: status.pid for status in statuses}
        found += [(f"{name} idle", _of(pid)) for name, pid in pids.items()]
        bench = Bench(options, urls, Nodes(session))
        await bench.prepare()
        row = await bench.measure("write", 64)
        say(f"{row.requests_per_s:,.0f} writes/s, leader {row.cpu_leader_us or 0:.0f} us per write")
        _, leader = await Nodes(session).leader(urls)
        found += [(f"{name} {'leader' if name == leader.name else 'follower'}", _of(pid)) for name, pid in pids.items()]
    return found


def _of(pid: int) -> Counter[str]:
    return resident(Path(f"/proc/{pid}/smaps").read_text())


def render(found: Sequence[tuple[str, Counter[str]]]) -> str:
    """Return the table in MiB."""
    kinds = sorted({kind for _, sizes in found for kind in sizes} - {PROPORTIONAL})
    rows = []
    for name, sizes in found:
        columns = [*(sizes[kind] for kind in kinds), sizes.total() - sizes[PROPORTIONAL], sizes[PROPORTIONAL]]
        rows.append((name, *(f"{size / 1024:.1f}" for size in columns)))
    return table(("MiB", *kinds, "resident", PROPORTIONAL), rows, right=range(1, len(kinds) + 3))


def main() -> int:
    """Run; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_bench.storage.memory", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the load (default: 20)")
    parser.add_argument("--payload", type=int, default=255, metavar="BYTES", help="size of a document (default: 255)")
    parser.add_argument("--keys", type=int, default=10_000, help="how many documents are written (default: 10000)")
    parser.add_argument("--csctl", type=Path, default=CSCTL, help="of the installation whose nodes are measured")
    parser.add_argument("--environment", action="append", default=[], metavar="NAME=VALUE", help="for the nodes")
    arguments = parser.parse_args()
    environment = dict(pair.split("=", 1) for pair in arguments.environment)
    options = Options(
        targets=(),
        workloads=("write",),
        connections=(64,),
        seconds=arguments.seconds,
        payload_bytes=arguments.payload,
        keys=arguments.keys,
        spread="leader",
        read_spread="all",
        nodes=3,
        profile="default",
        base_port=BASE_PORT,
        output="table",
        keep=False,
    )

    def work() -> int:
        sys.stdout.write(render(on_uvloop(measure(options, environment, arguments.csctl))) + "\n")
        return 0

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
