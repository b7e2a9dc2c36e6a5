"""Measure the Python client beside the raw stream, on a local cluster of three members, in turns.

`python -m collectionstore_bench.clients`: for writes and reads the throughput of the load generator that speaks the
stream by itself, and of `AsyncClient` with and without idempotency keys, with as many operations in flight; the
processor time of an operation in this process; and how reads were spread over the members.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Final

import aiohttp
import uvloop

from collectionstore import AsyncClient
from collectionstore.errors import CollectionStoreError
from collectionstore_bench.clients.python_load import ByMember, run_client_round
from collectionstore_bench.load.documents import COLLECTION, create_collection, make_documents
from collectionstore_bench.load.http_load import Target
from collectionstore_bench.load.stream_load import encode_operations, run_stream_round, send_all_once
from collectionstore_bench.tables import table
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.clusters.local import local_cluster

REPLICAS: Final = 3
STREAMS: Final = 3
RAW, KEYED, UNKEYED = "raw stream", "client", "client, retries=off"


async def measure(options: argparse.Namespace) -> tuple[list[tuple[str, str, float, float]], dict[str, int]]:
    """Return (workload, contender, operations/s, processor us) of every round, and reads by member."""
    rounds: list[tuple[str, str, float, float]] = []
    hooks = ByMember()
    async with (
        local_cluster(replicas=REPLICAS, base_port=options.base_port, name="bench-clients") as cluster,
        aiohttp.ClientSession() as session,
    ):
        urls = cluster.urls(REPLICAS)
        await create_collection(session, urls[0])
        targets = [Target.parse(url) for url in urls]
        texts = make_documents(options.keys, options.payload)
        await send_all_once(targets[0], encode_operations("put_document", COLLECTION, texts))
        documents = [(name, json.loads(text)) for name, text in texts]
        seeds = urls[0] + "".join("," + url.partition("://")[2] for url in urls[1:])
        async with AsyncClient(seeds) as keyed, AsyncClient(seeds, retries="off") as unkeyed:
            for client in (keyed, unkeyed):
                await client.ping()
            for workload in ("write", "read"):
                op = "put_document" if workload == "write" else "get_document"
                operations = encode_operations(op, COLLECTION, texts)
                for _ in range(options.rounds):
                    spent = time.process_time()
                    raw = await run_stream_round(
                        targets,
                        operations,
                        connections=STREAMS,
                        inflight=options.inflight,
                        seconds=options.seconds,
                        warm_up_s=0.5,
                    )
                    count = max(1, len(raw.latencies))
                    used = (time.process_time() - spent) / count * 1e6
                    rounds.append((workload, RAW, raw.per_second, used))
                    for name, client in ((KEYED, keyed), (UNKEYED, unkeyed)):
                        made = await run_client_round(client, workload, documents, options.inflight, options.seconds)
                        rounds.append((workload, name, made.per_second, made.processor_us))
        async with AsyncClient(seeds, hooks=hooks) as client:
            await client.ping()
            hooks.calls.clear()
            await run_client_round(client, "read", documents, 48, options.seconds)
    return rounds, dict(hooks.calls)


def shown(rounds: Sequence[tuple[str, str, float, float]], reads: dict[str, int]) -> str:
    """Return the medians as a table, and the balance."""
    lines = []
    for workload in ("write", "read"):
        raw = statistics.median(one[2] for one in rounds if one[:2] == (workload, RAW))
        for name in (RAW, KEYED, UNKEYED):
            found = [one for one in rounds if one[:2] == (workload, name)]
            speed = statistics.median(one[2] for one in found)
            used = statistics.median(one[3] for one in found)
            lines.append((workload, name, f"{speed:,.0f}", f"{100 * speed / raw:.0f} %", f"{used:.1f}"))
    counts = list(reads.values())
    spread = (max(counts) - min(counts)) / (sum(counts) / len(counts)) if counts else 0.0
    headings = ("workload", "contender", "operations/s", "of raw", "processor us")
    return (
        table(headings, lines, right=range(2, 5))
        + f"\nreads by member: {', '.join(f'{count:,}' for count in sorted(counts))}; apart by {100 * spread:.0f} %"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; return the exit code: 0 measured, 1 the cluster failed."""
    parser = argparse.ArgumentParser(prog="collectionstore_bench.clients", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--inflight", type=int, default=512, help="operations in flight (512)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each round (5)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--payload", type=int, default=255, help="bytes of a document (255)")
    parser.add_argument("--base-port", type=int, default=25_400)
    options = parser.parse_args(arguments)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rounds, reads = runner.run(measure(options))
    except (OSError, RuntimeError, ClusterFailed, CollectionStoreError, TimeoutError, aiohttp.ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(shown(rounds, reads))
    return 0


if __name__ == "__main__":
    sys.exit(main())
