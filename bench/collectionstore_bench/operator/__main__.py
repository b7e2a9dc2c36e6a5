"""Measure the operator with many clusters on a real API server: members and machines are simulated."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Final

import msgspec

from collectionstore_bench.machine import Machine, describe
from collectionstore_bench.operator.api import Access, Refused, connect
from collectionstore_bench.operator.contender import measure, running
from collectionstore_bench.operator.control_plane import control_plane, end
from collectionstore_bench.operator.figures import Figures, summary
from collectionstore_bench.operator.fleet import Fleet
from collectionstore_bench.operator.options import Options, contenders, parse_options
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_testkit.clusters.local import STATE_PARENT
from collectionstore_testkit.commands import with_parent

CREATE_S: Final = 1800.0


async def run(options: Options, folder: Path, found: list[Figures]) -> None:
    """Create the clusters with this checkout's operator, then measure one operator after the other."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with (
        control_plane(folder, options.base_port) as plane,
        connect(plane.access) as api,
        _stub(plane.access, folder),
    ):
        fleet, port = Fleet(api, options.clusters), options.base_port + 3
        await fleet.define()
        measured = contenders(options)
        async with running(measured[0], plane, port):
            taken_s = await fleet.create(CREATE_S)
            say(f"{options.clusters} clusters were ready {taken_s:.0f} s after the first was created")
        for contender in measured:
            async with running(contender, plane, port) as one:
                found.append(
                    await measure(
                        one,
                        fleet,
                        settle_s=options.settle_s,
                        window_s=options.seconds,
                        reactions=options.reactions,
                    )
                )


@asynccontextmanager
async def _stub(access: Access, folder: Path) -> AsyncIterator[None]:
    command = [sys.executable, "-m", "collectionstore_bench.operator.stub", access.url, str(access.authority)]
    with (folder / "stub.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *with_parent(command), stdin=asyncio.subprocess.PIPE, stdout=log, stderr=log
        )
    if process.stdin is not None:
        process.stdin.write(f"{access.token}\n".encode())
        await process.stdin.drain()
    try:
        yield
    finally:
        await end(process)


def print_result(options: Options, machine: Machine, found: Sequence[Figures]) -> None:
    """Print what was found in the format that was asked for."""
    if options.output == "json":
        settings = {"clusters": options.clusters, "seconds": options.seconds, "settle_s": options.settle_s}
        result = {"machine": asdict(machine), "settings": settings, "operators": [asdict(one) for one in found]}
        print(msgspec.json.format(json.dumps(result), indent=2))
        return
    shown = f"settings  {options.clusters} clusters of three simulated members, a window of {options.seconds:g} s"
    print("\n".join([*machine.lines(), shown, "", summary(found)]))


def main() -> int:
    """Run and print what was found; return the exit code: 0 measured, 1 something failed, 130 interrupted."""
    options = parse_options(__doc__ or "")
    machine, found = describe(STATE_PARENT), list[Figures]()
    folder = Path(tempfile.mkdtemp(prefix="collectionstore-operator-", dir=STATE_PARENT))

    def work() -> int:
        on_uvloop(run(options, folder, found))
        return 0

    try:
        code = exit_code(work, Refused, TimeoutError)
    finally:
        if options.keep:
            say(f"logs are in {folder}")
        else:
            shutil.rmtree(folder)
    print_result(options, machine, found)
    return code


if __name__ == "__main__":
    sys.exit(main())
