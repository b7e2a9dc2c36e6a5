"""Measure what tracing costs writes: two clusters, one of them traced, measured in turns within one run.

The traced cluster samples a share of the requests (--ratio) and sends its spans to a receiver in a separate process,
which counts them: a figure without spans would say nothing. The other cluster idles meanwhile, as the traced one does
in the other turns. `--dead` sends the spans to a closed port. "nodes µs" is the processor time of all
three nodes for one write, exporting included.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from statistics import median

import aiohttp

from collectionstore_bench.comparison.turns import in_turns, side_by_side, side_options
from collectionstore_bench.load.bench import Row
from collectionstore_bench.machine import describe
from collectionstore_bench.program import exit_code, on_uvloop
from collectionstore_bench.tables import milliseconds, table
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import STATE_PARENT

KEYS = 2_000
PAYLOAD_BYTES = 255
DEAD_PORT = 9
RECEIVER = """
import asyncio, sys
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
spans = 0
async def receive(request):
    global spans
    message = ExportTraceServiceRequest.FromString(await request.read())
    spans += sum(len(one.spans) for each in message.resource_spans for one in each.scope_spans)
    return web.Response(content_type="application/x-protobuf")
async def count(request):
    return web.json_response(spans)
application = web.Application()
application.router.add_post("/v1/traces", receive)
application.router.add_get("/spans", count)
say = lambda text: print(text, flush=True)
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=say)
"""


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_bench.comparison.tracing", description=__doc__)
    add = parser.add_argument
    add("--ratio", type=float, default=0.01, help="share of the requests that is sampled (default: 0.01)")
    add("--rounds", type=int, default=8, help="how often each cluster is measured (default: 8)")
    add("--seconds", type=float, default=5.0, help="length of each measurement (default: 5)")
    add("--connections", type=int, default=64, help="requests in flight (default: 64)")
    add("--spread", choices=("leader", "all"), default="leader", help="where writes go (default: leader)")
    add("--base-port", type=int, default=21_600, metavar="PORT", help="of what is started, 100 ports (default: 21600)")
    add("--dead", action="store_true", help="send the spans to a closed port")
    return parser.parse_args()


@asynccontextmanager
async def receiver(port: int) -> AsyncIterator[str]:
    """Run a receiver of traces and provide its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", RECEIVER, str(port), stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(10):
            if process.stdout is None or not await process.stdout.readline():
                raise ClusterFailed("the receiver of traces did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


async def received(session: aiohttp.ClientSession, url: str) -> int:
    """Return how many spans the receiver has."""
    async with session.get(f"{url}/spans") as response:
        return int(await response.text())


def nodes_us(row: Row) -> float:
    """Return the processor time of all three nodes for one write, in microseconds."""
    return (row.cpu_leader_us or 0.0) + 2 * (row.cpu_follower_us or 0.0)


def render(rows: Mapping[str, Sequence[Row]]) -> str:
    """Return the table, and the cost: the median of what the rounds say."""
    lines = [
        (
            side,
            f"{median(row.requests_per_s for row in some):,.0f}",
            milliseconds(median(row.p99 or 0.0 for row in some)),
            f"{median(map(nodes_us, some)):.0f}",
            str(sum(sum(row.errors.values()) for row in some)),
        )
        for side, some in rows.items()
    ]
    pairs = list(zip(rows["off"], rows["on"], strict=True))
    costs = sorted(1 - on.requests_per_s / off.requests_per_s for off, on in pairs)
    cpu = sorted(nodes_us(on) / nodes_us(off) - 1 for off, on in pairs)
    return "\n".join(
        [
            table(("tracing", "median writes/s", "p99 ms", "nodes µs", "errors"), lines, right=range(1, 5)),
            "",
            f"writes per second lost, by round: median {median(costs):.1%}, from {costs[0]:.1%} to {costs[-1]:.1%}",
            f"processor time added, by round: median {median(cpu):.1%}, from {cpu[0]:.1%} to {cpu[-1]:.1%}",
        ]
    )


async def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    machine = describe(STATE_PARENT)
    port = options.base_port
    async with receiver(port + 90) as url, aiohttp.ClientSession() as session:
        environments = {
            "off": {"OTEL_SDK_DISABLED": "true"},
            "on": {
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{DEAD_PORT}" if options.dead else url,
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": str(options.ratio),
            },
        }
        load = side_options(
            workload="write",
            connections=options.connections,
            seconds=options.seconds,
            payload_bytes=PAYLOAD_BYTES,
            keys=KEYS,
            base_port=port,
            spread=options.spread,
        )
        async with side_by_side(load, environments, session, what="tracing") as sides:
            before = await received(session, url)
            rows = await in_turns(sides, rounds=options.rounds, workload="write", connections=options.connections)
            spans = await received(session, url) - before
    where = "no receiver of spans" if options.dead else f"{spans:,} spans received"
    settings = (
        f"settings  3 nodes each, {PAYLOAD_BYTES} B documents, {options.connections} connections, "
        f"{options.rounds} x {options.seconds:g} s each, writes to {options.spread}, "
        f"{options.ratio:.1%} sampled, {where}"
    )
    print("\n".join([*machine.lines(), settings, "", render(rows)]))
    if options.ratio and not options.dead and not spans:
        raise ClusterFailed("no span was received: nothing was measured")


def main() -> int:
    """Run; return the exit code: 0 measured, 1 a cluster failed, 130 interrupted."""
    options = parse_options()

    def work() -> int:
        on_uvloop(run(options))
        return 0

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
