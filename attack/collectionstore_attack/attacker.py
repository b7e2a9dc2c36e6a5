"""The process that attacks: apart from the victim, whose latencies it would otherwise spoil, and at low priority.

    python -m collectionstore_attack.attacker NAME < field.json

It prepares, prints "ready", waits for a line on stdin, attacks, and prints its findings as JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any, Final

import uvloop

from collectionstore_attack.attacks import ATTACKS
from collectionstore_attack.field import Address, Attack, Field

NICENESS: Final = 10
READY: Final = "ready"
PORTS: Final = ("clients", "metrics", "peers")


def field_from(text: str) -> Field:
    """Return the field that `field_as_json` wrote."""
    value: dict[str, Any] = json.loads(text)
    clients, metrics, peers = (tuple(Address(*one) for one in value[name]) for name in PORTS)
    return Field(clients, metrics, peers, Path(value["state"]), value["seconds"])


def field_as_json(field: Field) -> str:
    """Return one line for `field_from`."""
    ports = {name: [[one.host, one.port] for one in getattr(field, name)] for name in PORTS}
    return json.dumps({**ports, "state": str(field.state), "seconds": field.seconds})


async def _attack(attack: Attack, field: Field) -> None:
    await attack.prepare(field)
    print(READY, flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    field.begin()
    await attack.run(field)


def main() -> int:
    """Attack; return the exit code."""
    attack = ATTACKS[sys.argv[1]]
    field = field_from(sys.stdin.readline())
    # The victim and the members come first: what is measured is what requests cost, not how many fit on the machine.
    os.nice(NICENESS)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_attack(attack, field))
    print(json.dumps({"answers": field.answers, "broken": field.broken}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
