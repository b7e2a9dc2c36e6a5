"""1, 3, 5 and 7 members: what each more costs the leader."""

from __future__ import annotations

import aiohttp

from collectionstore_bench.figures import Report
from collectionstore_bench.scale.options import Options
from collectionstore_bench.scale.parts import SINGLE, figures, rounds
from collectionstore_testkit.clusters.local import local_cluster
from collectionstore_testkit.clusters.node_status import Nodes

SIZE_BYTES = 255


async def measure(options: Options, report: Report) -> None:
    """Measure writes and reads at the leader of clusters of each size."""
    for count in options.members:
        spec = SINGLE if count == 1 else None
        async with (
            local_cluster(replicas=count, base_port=options.base_port, spec=spec) as cluster,
            aiohttp.ClientSession() as session,
        ):
            rows = await rounds(
                options,
                cluster.urls(count),
                Nodes(session),
                size_bytes=SIZE_BYTES,
                keys=1_000,
                workloads=("write", "read"),
            )
        for one in figures("members", f"{count} member{'' if count == 1 else 's'}", rows):
            report(one)
