"""Values to 1 MB on three members: where requests end and bytes begin to count."""

from __future__ import annotations

import aiohttp

from collectionstore_bench.figures import Report
from collectionstore_bench.scale.options import Options
from collectionstore_bench.scale.parts import figures, rounds
from collectionstore_testkit.clusters.local import local_cluster
from collectionstore_testkit.clusters.node_status import Nodes

KEYS_MAX = 1_000
KEYS_MIN = 32
DATA_BYTES = 16 << 20
"""Of all documents of one size together, unless KEYS_MIN of them are more."""


async def measure(options: Options, report: Report) -> None:
    """Measure writes and reads at the leader for each size."""
    async with (
        local_cluster(replicas=3, base_port=options.base_port) as cluster,
        aiohttp.ClientSession() as session,
    ):
        for size in options.sizes:
            rows = await rounds(
                options,
                cluster.urls(3),
                Nodes(session),
                size_bytes=size,
                keys=min(KEYS_MAX, max(KEYS_MIN, DATA_BYTES // size)),
                workloads=("write", "read"),
            )
            for one in figures("values", f"{size:,} B", rows, size):
                report(one)
