"""Measure what tracing costs writes: two clusters, one of them traced, measured in turns within one run.

The traced cluster samples a share of the requests (--ratio) and sends its spans to a receiver in a process of its own,
which counts them: a figure without spans would say nothing. The other cluster idles meanwhile, as the traced one does
in the other turns. `--dead` sends the spans to a port where nobody listens. "nodes µs" is the processor time of all
three nodes for one write, exporting included.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import statistics
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import aiohttp
import uvloop

from http_load import Target, run_round, send_each_once
from load import COLLECTION, LOAD_CONNECTIONS, LOAD_TIMEOUT_S, make_documents, make_requests, say
from local_cluster import STATE_PARENT, ClusterFailed, Nodes, local_cluster
from machine import cpu_seconds, describe
from tables import table

KEYS = 2_000
PAYLOAD_BYTES = 255
WARM_UP_S = 0.5
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
    parser = argparse.ArgumentParser(prog="bench/tracing.py", description=__doc__)
    add = parser.add_argument
    add("--ratio", type=float, default=0.01, help="share of the requests that is sampled (default: 0.01)")
    add("--rounds", type=int, default=8, help="how often each cluster is measured (default: 8)")
    add("--seconds", type=float, default=5.0, help="length of each measurement (default: 5)")
    add("--connections", type=int, default=64, help="requests in flight (default: 64)")
    add("--spread", choices=("leader", "all"), default="leader", help="where writes go (default: leader)")
    add("--base-port", type=int, default=21_600, metavar="PORT", help="of what is started, 100 ports (default: 21600)")
    add("--dead", action="store_true", help="send the spans to a port where nobody listens")
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


class Side:
    """One of the two clusters."""

    def __init__(self, name: str, urls: Sequence[str], nodes: Nodes, options: argparse.Namespace) -> None:
        self.name = name
        self.per_second: list[float] = []
        self.p99: list[float] = []
        self.cpu_us: list[float] = []
        self.errors = 0
        self._urls = urls
        self._nodes = nodes
        self._options = options
        self._targets = {url: Target.parse(url) for url in urls}
        self._requests = make_requests(list(self._targets.values()), make_documents(KEYS, PAYLOAD_BYTES))["write"]

    async def prepare(self) -> None:
        """Write every document once."""
        url, _ = await self._nodes.leader(self._urls)
        async with self._nodes.session.put(f"{url}/api/v1/collections/{COLLECTION}") as response:
            if response.status not in (200, 201):
                raise ClusterFailed(f"creating a collection was answered with {response.status}")
        await send_each_once(
            [self._targets[url]], self._requests, connections=LOAD_CONNECTIONS, timeout_s=LOAD_TIMEOUT_S
        )

    async def measure(self) -> None:
        """Measure one round."""
        leader, _ = await self._nodes.leader(self._urls)
        pids = [status.pid for status in (await self._nodes.statuses(self._urls)).values()]
        urls = [leader, *(url for url in self._urls if url != leader and self._options.spread == "all")]
        measured = await run_round(
            [self._targets[url] for url in urls],
            self._requests,
            connections=self._options.connections,
            seconds=self._options.seconds,
            warm_up_s=WARM_UP_S,
            probe=lambda: _cpu_times(pids),
        )
        self.per_second.append(measured.per_second)
        self.cpu_us.append(1e6 * sum(measured.spent.values()) / len(measured.latencies))
        self.p99.append(measured.quantile(0.99) or 0.0)
        self.errors += sum(measured.errors.values())
        say(f"{self.name:4} {measured.per_second:8,.0f} writes/s")


def _cpu_times(pids: Sequence[int]) -> dict[str, float]:
    return {str(pid): spent for pid in pids if (spent := cpu_seconds(pid)) is not None}


def render(off: Side, on: Side) -> str:
    """Return the table, and the cost: the median of what each pair of neighbouring rounds says."""
    lines = [
        (
            side.name,
            f"{statistics.median(side.per_second):,.0f}",
            f"{min(side.per_second):,.0f} - {max(side.per_second):,.0f}",
            f"{1000 * statistics.median(side.p99):.1f}",
            f"{statistics.median(side.cpu_us):.0f}",
            str(side.errors),
        )
        for side in (off, on)
    ]
    costs = sorted(1 - traced / plain for plain, traced in zip(off.per_second, on.per_second, strict=True))
    headings = ("tracing", "writes/s", "from - to", "p99 ms", "nodes µs", "errors")
    text = table(headings, lines, right=range(1, 6))
    return (
        f"{text}\n\ncost of tracing: {statistics.median(costs):.1%} of the writes per second "
        f"(rounds: {costs[0]:.1%} to {costs[-1]:.1%})"
    )


async def run(options: argparse.Namespace) -> None:
    """Measure and print."""
    machine = describe(STATE_PARENT)
    port = options.base_port
    async with receiver(port + 90) as url, aiohttp.ClientSession() as session:
        traced = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{DEAD_PORT}" if options.dead else url,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(options.ratio),
        }
        say("starting two clusters of three nodes")
        async with (
            local_cluster(replicas=3, base_port=port, environment={"OTEL_SDK_DISABLED": "true"}) as plain,
            local_cluster(replicas=3, base_port=port + 40, environment=traced) as cluster,
        ):
            nodes = Nodes(session)
            off, on = Side("off", plain.urls(3), nodes, options), Side("on", cluster.urls(3), nodes, options)
            for side in (off, on):
                await side.prepare()
            gc.collect()
            gc.freeze()
            gc.disable()
            before = await received(session, url)
            for number in range(options.rounds):
                for side in (off, on) if number % 2 == 0 else (on, off):
                    await side.measure()
            spans = await received(session, url) - before
    where = "nobody listens to the spans" if options.dead else f"{spans:,} spans received"
    settings = (
        f"settings  3 nodes each, {PAYLOAD_BYTES} B documents, {options.connections} connections, "
        f"{options.rounds} x {options.seconds:g} s each, writes to {options.spread}, "
        f"{options.ratio:.1%} sampled, {where}"
    )
    print("\n".join([*machine.lines(), settings, "", render(off, on)]))
    if options.ratio and not options.dead and not spans:
        raise ClusterFailed("no span was received: nothing was measured")


def main() -> int:
    """Run; return the exit code: 0 measured, 1 a cluster failed, 130 interrupted."""
    options = parse_options()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        say("interrupted; the clusters are stopped")
        return 130
    except (ClusterFailed, OSError, RuntimeError, TimeoutError) as error:
        say(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
