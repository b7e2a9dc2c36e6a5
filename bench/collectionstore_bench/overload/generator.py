"""The generator of the open loop, a program in Go (`bench/go/openload`): built, started, fed and read.

In Python a request costs its generator more than a refusal costs the member that it shares the machine with: what was
measured then was the generator.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from collectionstore_bench.overload.plan import Plan, Report
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.places import REPOSITORY
from collectionstore_testkit.progress import Progress
from collectionstore_testkit.tools.go_programs import Module, build

MODULE: Final = Module("openload", "ten seconds", parent=REPOSITORY / "bench" / "go")
PROGRAM: Final = "open-load"
GRACE_S: Final = 45.0
"""What a round may take beyond its warm-up and window: connecting, and waiting for the last answers."""


def program() -> Path:
    """Return the generator; the first call builds it. Raises ToolError."""
    return build(MODULE, Progress()) / PROGRAM


async def run_plan(generator: Path, plan: Plan) -> Report:
    """Carry out a plan. Raises ClusterFailed."""
    # Files and not pipes: nothing here reads while the generator runs.
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as found:
        told.write(msgspec.json.encode(plan))
        told.seek(0)
        # Go's runtime raises its limit of open files itself.
        process = await asyncio.create_subprocess_exec(str(generator), stdin=told, stdout=found)
        try:
            async with asyncio.timeout(plan.warm_up_s + plan.seconds + GRACE_S):
                await process.wait()
        except TimeoutError:
            raise ClusterFailed("the generator did not come to an end") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise ClusterFailed(f"the generator ended with code {process.returncode}")
        found.seek(0)
        return msgspec.json.decode(found.read(), type=Report)
