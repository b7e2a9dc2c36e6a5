"""`python -m collectionstore_node.tests.fuzz --requests 1000000 --seed 7`: any number of cases by hand."""

from __future__ import annotations

import argparse
import asyncio
import sys

import uvloop

from collectionstore_node.tests.fuzz.engine import Summary, bar, fuzz
from collectionstore_node.tests.fuzz.http_target import http_target
from collectionstore_node.tests.fuzz.stream_target import stream_target


async def _run(requests: int, seed: int, first: int, *, streams: bool) -> Summary:
    async with stream_target() if streams else http_target() as target:
        return await fuzz(target, requests=requests, seed=seed, first=first, progress=bar(requests))


def main() -> None:
    """Fuzz the client port and the metrics port, or streams; exit with 1 when something was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000, help="how many cases (10000)")
    parser.add_argument("--seed", type=int, default=1, help="cases of another seed are others (1)")
    parser.add_argument("--first", type=int, default=0, help="number of the first case, to repeat a finding (0)")
    parser.add_argument("--streams", action="store_true", help="streams in place of HTTP requests")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        summary = runner.run(_run(given.requests, given.seed, given.first, streams=given.streams))
    sys.stdout.write(f"\n{summary}\n")
    sys.exit(1 if summary.findings else 0)


if __name__ == "__main__":
    main()
