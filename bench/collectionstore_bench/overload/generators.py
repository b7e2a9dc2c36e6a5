"""Generator processes: started, fed with their part of a plan, and what they found put together."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence

import msgspec

from collectionstore_bench.overload.plan import Plan, Report, Told
from collectionstore_testkit.clusters.errors import ClusterFailed

GRACE_S = 45.0
"""What a round may take beyond its warm-up and window: making documents, connecting, waiting for the last answers."""


async def run_plan(plan: Plan, processes: int) -> Report:
    """Carry out a plan with that many processes, each with its share. Raises ClusterFailed."""
    reports = await asyncio.gather(*(_run(one) for one in divide(plan, processes)))
    return join(reports)


def divide(plan: Plan, processes: int) -> list[Plan]:
    """Return the shares of a plan: rates and connections divided, seeds apart."""
    return [
        msgspec.structs.replace(
            plan,
            connections=_share(plan.connections, number, processes),
            read_connections=_share(plan.read_connections, number, processes),
            write_rate=plan.write_rate / processes,
            read_rate=plan.read_rate / processes,
            seed=plan.seed + number,
        )
        for number in range(processes)
    ]


def join(reports: Sequence[Report]) -> Report:
    """Return what all processes found together, latencies ascending."""
    return Report(
        writes=_join([one.writes for one in reports]),
        reads=_join([one.reads for one in reports]),
        late_s=max(one.late_s for one in reports),
        waited=sum(one.waited for one in reports),
        cpu_s=sum(one.cpu_s for one in reports),
    )


def _share(count: int, number: int, of: int) -> int:
    return count // of + (number < count % of)


def _join(parts: Sequence[Told]) -> Told:
    errors: Counter[str] = Counter()
    for one in parts:
        errors.update(one.errors)
    return Told(
        due=sum(one.due for one in parts),
        latencies=sorted(seconds for one in parts for seconds in one.latencies),
        refusals=sorted(seconds for one in parts for seconds in one.refusals),
        errors=dict(errors),
    )


async def _run(plan: Plan) -> Report:
    # Files and not pipes: uvloop's pipes do not block, which the megabytes of a report would not survive.
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as found:
        told.write(msgspec.json.encode(plan))
        told.seek(0)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "collectionstore_bench.overload.generator", stdin=told, stdout=found
        )
        try:
            async with asyncio.timeout(plan.warm_up_s + plan.seconds + GRACE_S):
                await process.wait()
        except TimeoutError:
            raise ClusterFailed("a generator did not come to an end") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise ClusterFailed(f"a generator ended with code {process.returncode}")
        found.seek(0)
        return msgspec.json.decode(found.read(), type=Report)
