"""How long clients wait: for a leader that hands over, and for a quorum that is lost with two of three disks."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from collectionstore_bench.backup.load import DOCUMENTS
from collectionstore_bench.backup.programs import Lab
from collectionstore_bench.lifecycle import trials
from collectionstore_bench.lifecycle.acknowledged import COLLECTION, Writers
from collectionstore_bench.lifecycle.switchover import measure_switchovers
from collectionstore_bench.lifecycle.trials import Finding, until
from collectionstore_bench.program import say
from collectionstore_testkit.clusters.local import LocalCluster
from collectionstore_testkit.clusters.node_status import Nodes

WRITERS = 8
WRITES_PER_S = 200
GRACE_S = 5
"""spec.failedMember.graceSeconds of the cluster: for so long a member may be away before a recovery is offered."""
OFFER_S = 120.0
RECOVERED_S = 300.0
ATTEMPT_S = 1.0


async def switchovers(lab: Lab, count: int) -> list[Finding]:
    """Have the leader hand over, under clients that repeat what was not acknowledged. Raises ClusterFailed."""
    async with lab.session.put(f"{lab.cluster.url(0)}/api/v1/collections/{COLLECTION}") as response:
        response.raise_for_status()
    writers = Writers(lab.session, lambda: lab.cluster.urls(3), count=WRITERS, per_second=WRITES_PER_S)
    found = await measure_switchovers(
        trials.Lab(
            cluster=lab.cluster,
            nodes=Nodes(lab.session),
            size=3,
            writers=writers,
            documents=0,
            kills=0,
            switchovers=count,
            profile="default",
            say=say,
        )
    )
    verdict = await writers.verify()
    lost = verdict.missing + verdict.different
    return [*found, Finding("acknowledged writes lost in switchovers", lost, "", 0, f"{verdict.checked} read back")]


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds of a recovery from a lost quorum."""

    offered_s: float
    """From the loss until the status has the nonce to copy, the grace time among them."""
    write_s: float
    """From the nonce in the spec until a write is acknowledged."""
    whole_s: float
    """From the nonce until three members vote and the cluster is Ready."""


async def recover_quorum(lab: Lab) -> Recovery:
    """Delete two of three data directories and recover by the guide. Raises ClusterFailed."""
    cluster = lab.cluster
    lost_at = time.monotonic()
    for ordinal in (0, 1):
        node = cluster.state / cluster.name / "nodes" / cluster.member(ordinal)
        record = json.loads((node / "process.json").read_text())
        (node / "data").rename(cluster.folder / f"lost-{ordinal}")
        os.kill(record["process"]["pid"], signal.SIGKILL)
        shutil.rmtree(cluster.folder / f"lost-{ordinal}")

    def nonce() -> str:
        return str((_published(cluster).get("recovery") or {}).get("nonce") or "")

    async def offered() -> bool:
        return bool(nonce())

    await until(offered, OFFER_S, "a recovery is offered")
    asked_at = time.monotonic()
    applying = asyncio.create_task(cluster.apply({"recovery": {"nonce": nonce()}}))
    try:
        await until(lambda: _written(lab), RECOVERED_S, "a write is acknowledged")
        written_at = time.monotonic()

        async def whole() -> bool:
            status = _published(cluster)
            ready = {one["type"]: one["status"] for one in status["conditions"]}.get("Ready") == "True"
            return ready and (status.get("recovery") or {}).get("phase") == "Finished"

        await until(whole, RECOVERED_S, "three members vote again")
        whole_at = time.monotonic()
        await applying
    finally:
        applying.cancel()
        await asyncio.gather(applying, return_exceptions=True)
    return Recovery(asked_at - lost_at, written_at - asked_at, whole_at - asked_at)


def _published(cluster: LocalCluster) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads((cluster.state / cluster.name / "status.json").read_text())
    return found


async def _written(lab: Lab) -> bool:
    """Return whether any member acknowledges a write now."""
    for url in lab.cluster.urls(3):
        try:
            async with (
                asyncio.timeout(ATTEMPT_S),
                lab.session.put(f"{url}/api/v1/collections/{DOCUMENTS}/documents/after", json={"n": 1}) as response,
            ):
                if response.status in (200, 201):
                    return True
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            continue  # not yet
    return False
