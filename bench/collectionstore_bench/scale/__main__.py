"""Measure how far one cluster goes: members, sizes of values, numbers of documents, idle connections."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

import aiohttp
import msgspec

from collectionstore_bench.machine import Machine, describe
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.scale import connections, documents, members, values
from collectionstore_bench.scale.options import Options, parse_options
from collectionstore_bench.scale.parts import Figure, Report
from collectionstore_bench.tables import table
from collectionstore_testkit.clusters.local import STATE_PARENT

MEASURE: Final[Mapping[str, Callable[[Options, Report], Awaitable[None]]]] = {
    "members": members.measure,
    "values": values.measure,
    "documents": documents.measure,
    "connections": connections.measure,
}


async def run(options: Options, found: list[Figure]) -> None:
    """Measure the parts one after the other; `found` gets what is known so far."""
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)

    def report(figure: Figure) -> None:
        found.append(figure)
        say(f"{figure.part}, {figure.case}: {figure.what} {shown(figure.value)} {figure.unit}")

    for name in options.parts:
        await MEASURE[name](options, report)


def shown(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def print_result(options: Options, machine: Machine, found: Sequence[Figure]) -> None:
    """Print what was found in the format that was asked for."""
    if options.output == "json":
        result = {"machine": asdict(machine), "settings": asdict(options), "figures": [asdict(one) for one in found]}
        print(msgspec.json.format(json.dumps(result), indent=2))
        return
    lines = [(one.part, one.case, one.what, shown(one.value), one.unit, one.note) for one in found]
    form = "reduced" if options.reduced else "full"
    settings = f"settings  {form} form, {options.connections} connections to the leader, {options.seconds:g} s a round"
    print("\n".join([*machine.lines(), settings, ""]))
    print(table(("part", "case", "what", "value", "", "note"), lines, right=(3,)))


def main() -> int:
    """Run and print what was found; return the exit code: 0 measured, 1 the cluster failed, 130 interrupted."""
    options = parse_options(__doc__ or "")
    machine, found = describe(STATE_PARENT), list[Figure]()

    def work() -> int:
        on_uvloop(run(options, found))
        return 0

    code = exit_code(work, aiohttp.ClientError)
    print_result(options, machine, found)
    return code


if __name__ == "__main__":
    sys.exit(main())
