"""Measure how far one cluster goes: members, sizes of values, numbers of documents, idle connections."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Final

import aiohttp

from collectionstore_bench.figures import Figure, Report, end_with_sigterm, print_json, print_table, shown
from collectionstore_bench.machine import Machine, describe
from collectionstore_bench.program import exit_code, on_uvloop, say
from collectionstore_bench.scale import connections, documents, members, values
from collectionstore_bench.scale.options import Options, parse_options
from collectionstore_testkit.clusters.local import STATE_PARENT

MEASURE: Final[Mapping[str, Callable[[Options, Report], Awaitable[None]]]] = {
    "members": members.measure,
    "values": values.measure,
    "documents": documents.measure,
    "connections": connections.measure,
}


async def run(options: Options, found: list[Figure]) -> None:
    """Measure the parts one after the other; `found` gets what is known so far."""
    end_with_sigterm()

    def report(figure: Figure) -> None:
        found.append(figure)
        say(f"{figure.part}, {figure.case}: {figure.what} {shown(figure.value)} {figure.unit}")

    for name in options.parts:
        await MEASURE[name](options, report)


def print_result(options: Options, machine: Machine, found: Sequence[Figure]) -> None:
    """Print what was found in the format that was asked for."""
    if options.output == "json":
        print_json(machine, asdict(options), found)
        return
    form = "reduced" if options.reduced else "full"
    settings = f"{form} form, {options.connections} connections to the leader, {options.seconds:g} s a round"
    print_table(machine, settings, found)


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
