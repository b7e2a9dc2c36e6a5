"""Keep operations in flight on streams of a node: `python -m collectionstore_bench.generators.pipelined`.

The loop is that of `collectionstore_bench.load.stream_load`; the documents exist already, as for the other generators,
and nothing is warmed up, so that the processor time of the nodes during the run is that of the operations counted.
Prints a result as JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

import msgspec
import uvloop

from collectionstore_bench.generators.load import Load, Result, Work
from collectionstore_bench.load.documents import COLLECTION, make_documents
from collectionstore_bench.load.http_load import Target

STREAM_MODULE: Final = "collectionstore_bench.load.stream_load"
STREAMS: Final = 4
OPERATIONS: Final = {Work.PUT: "put_document", Work.GET: "get_document"}


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--target", required=True, metavar="URL", help="of the node, such as http://127.0.0.1:7400")
    add("--work", choices=[work.value for work in OPERATIONS], required=True)
    add("--inflight", type=int, required=True, help="operations in flight, of all streams")
    add("--seconds", type=float, required=True)
    add("--payload", type=int, default=255, help="bytes of a document (default: 255)")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> Result:
    """Load the node and return what it answered."""
    # Not imported above: `programs.has_stream_load` asks whether this checkout has it.
    stream: Any = import_module(STREAM_MODULE)
    load = Load(Work(options.work), options.inflight, options.payload)
    documents = make_documents(load.keys, load.size, load.prefix)
    operations = stream.encode_operations(OPERATIONS[load.work], COLLECTION, documents)
    # A collection in the middle of a run would be measured as the node's latency.
    gc.collect()
    gc.freeze()
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        measured = runner.run(
            stream.run_stream_round(
                [Target.parse(options.target)],
                operations,
                connections=STREAMS,
                inflight=load.clients,
                seconds=options.seconds,
                warm_up_s=0.0,
            )
        )
    p50, p99, worst = ((measured.quantile(share) or 0.0) * 1e6 for share in (0.5, 0.99, 1.0))
    return Result(len(measured.latencies), measured.seconds, p50, p99, worst, dict(measured.errors))


def main() -> int:
    """Run; 0 measured."""
    print(msgspec.json.encode(measure(parse_options())).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
