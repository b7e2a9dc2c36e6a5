"""What asking for rights costs an operation, in process: `python -m collectionstore_node.tests.service.rights_cost`.

The door alone, over a state in memory: what is added to a request that takes some hundred microseconds. Best of several
runs, as others use the machine, too.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns

from collectionstore_node.access.current import calling
from collectionstore_node.access.modes import Mode
from collectionstore_node.service.door import Door
from collectionstore_node.service.operations import DocumentRef, Put, Read
from collectionstore_node.statemachine.commands import Command
from collectionstore_node.tests.service.access_scene import ADMIN, Scene, caller, writes

CALLS = 20_000
RUNS = 7


def best_ns(call: Callable[[], object]) -> float:
    """Return the nanoseconds of a call."""
    found = []
    for _ in range(RUNS):
        began = perf_counter_ns()
        for _ in range(CALLS):
            call()
        found.append((perf_counter_ns() - began) / CALLS)
    return min(found)


async def main() -> None:
    """Print a table."""
    put = Put(DocumentRef("people", "ada"), b'{"team":"a","n":1}')
    sys.stdout.write(f"{'':34}{'write, us':>12}{'read, us':>12}\n")
    for name, mode, who in (
        ("off", Mode.DISABLED, None),
        ("enforced, who may do everything", Mode.ENFORCED, ADMIN),
        ("enforced, the role writer", Mode.ENFORCED, caller("ann", "writer")),
        ("enforced, a row filter", Mode.ENFORCED, caller("ann", "rows")),
        ("enforced, hidden fields", Mode.ENFORCED, caller("ann", "fields")),
    ):
        scene = Scene(mode)
        await scene.collection("people", {"ada": {"team": "a", "n": 1}})
        await scene.role("rows", writes("people", filter={"team": "a"}))
        await scene.role("fields", writes("people", fields={"hide": ["n"]}))
        door = scene.store._door
        with calling(who):
            written, read = best_ns(partial(_write, door, put)), best_ns(partial(_read, door, put.ref))
        sys.stdout.write(f"{name:34}{written / 1000:12.2f}{read / 1000:12.2f}\n")


def _write(door: Door, put: Put) -> None:
    door.admit(put)
    door.command(Command(put))


def _read(door: Door, target: Read) -> None:
    door.admit(target)
    door.read_now(target)


if __name__ == "__main__":
    asyncio.run(main())
