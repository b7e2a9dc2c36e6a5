"""Run any number of seeds of a simulation on all cores: `python -m collectionstore_node.tests.soak.run --seeds 100000`.

README.md explains what a seed does, and what to do with one that fails.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from typing import Final

from collectionstore_node.tests.soak.layers import LAYERS, Layer
from collectionstore_node.tests.soak.summary import Progress, Soak, document, text
from collectionstore_node.tests.soak.tally import Tally
from collectionstore_node.tests.soak.worker import end_with_parent, run_seeds

CHUNK_MAX: Final = 50
"""Seeds that a process runs before it reports."""
CLEAN, FAILED, INTERRUPTED = 0, 1, 130

EXAMPLES: Final = """\
examples:
  %(prog)s --seeds 2000                        what the test suite runs
  %(prog)s --seeds 100000 --first 5000         more, beginning where others have ended
  %(prog)s --layer 2 --seeds 5000              whole nodes instead of Raft cores
  %(prog)s --first 4711 --seeds 1              one seed again; shows where it fails
  %(prog)s --seeds 2000 -o json > soak.json    for machines

A seed decides everything that happens in its run: equal seeds give equal runs, on every machine. The trace is a hash of
all that happened, so equal traces mean that two versions of the code behaved alike.

exit status: 0 no seed failed, 1 some did, 2 wrong usage, 130 interrupted (what was done is shown)."""


def soak(number: int, layer: Layer, first: int, seeds: int, jobs: int) -> tuple[Soak, bool]:
    """Run the seeds `[first, first + seeds)` in `jobs` processes. Return what came out, and whether it is complete."""
    started = time.perf_counter()
    progress, tally, complete = Progress(seeds), Tally(), True
    chunk = max(1, min(CHUNK_MAX, seeds // (4 * jobs)))
    last = first + seeds
    # A fresh interpreter per process: nothing that this one has done or imported can change a run.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=end_with_parent)
    try:
        chunks: list[Future[Tally]] = [
            pool.submit(run_seeds, layer, begin, min(begin + chunk, last)) for begin in range(first, last, chunk)
        ]
        for done in as_completed(chunks):
            tally.join(done.result())
            progress.show(tally.seeds, len(tally.failures), time.perf_counter() - started)
    except KeyboardInterrupt:
        complete = False
    finally:
        progress.clear()
        pool.shutdown(wait=complete, cancel_futures=True)
    return Soak(number, first, seeds, jobs, time.perf_counter() - started, tally), complete


def main(arguments: Sequence[str], layers: Mapping[int, Layer] = LAYERS) -> int:
    """Run what is asked for and print what came out; return the exit status."""
    options = _parser(layers).parse_args(arguments)
    result, complete = soak(options.layer, layers[options.layer], options.first, options.seeds, options.jobs)
    sys.stdout.write((json.dumps(document(result), indent=2) if options.output == "json" else text(result)) + "\n")
    if not complete:
        return INTERRUPTED
    return FAILED if result.tally.failures else CLEAN


def _parser(layers: Mapping[int, Layer]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_node.tests.soak.run",
        description="Run seeds of a simulation under every fault that the store must survive.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    about = "; ".join(f"{number}: {layer.about}" for number, layer in layers.items())
    cores = os.cpu_count() or 1
    parser.add_argument("--seeds", type=_count, default=1000, help="how many (default: %(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first one (default: %(default)s)")
    parser.add_argument("--layer", type=int, choices=sorted(layers), default=min(layers), help=f"{about} (default: 1)")
    parser.add_argument(
        "--jobs", type=_count, default=cores, help="processes (default: one per core, here %(default)s)"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text", help="(default: %(default)s)")
    return parser


def _count(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is below 1")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
