"""Faults of the links between members, through the fault proxy."""

from __future__ import annotations

import asyncio
import random
import time

from collectionstore_chaos.budget import NotNow
from collectionstore_chaos.faults.process_faults import pick
from collectionstore_chaos.lab import Lab
from collectionstore_testkit.faults.links import ALL, LinkFault, Mode


async def isolate(lab: Lab, randomness: random.Random) -> None:
    """Cut a member off from all others, both ways."""
    await _strain(lab, randomness, "isolate", [_fault(await pick(lab, randomness), ALL, Mode.DROP)])


async def one_way(lab: Lab, randomness: random.Random) -> None:
    """Drop everything that a member sends to another, or to all others; it still receives."""
    name = await pick(lab, randomness)
    fault = _fault(name, randomness.choice([ALL, _other(lab, randomness, name)]), Mode.DROP, one_way=True)
    await _strain(lab, randomness, "one-way", [fault])


async def cut_link(lab: Lab, randomness: random.Random) -> None:
    """Cut two members off from each other, while both reach the rest: a bridge."""
    name = await pick(lab, randomness)
    await _strain(lab, randomness, "cut-link", [_fault(name, _other(lab, randomness, name), Mode.DROP)])


async def split(lab: Lab, randomness: random.Random) -> None:
    """Split the members into two groups."""
    names = lab.cluster.members.running()
    randomness.shuffle(names)
    few = names[: max(1, (len(names) - 1) // 2)]
    faults = [_fault(one, other, Mode.DROP) for one in few for other in names if other not in few]
    if not faults:
        raise NotNow("fewer than two members run")
    await _strain(lab, randomness, "split", faults, f"{', '.join(sorted(few))} from the rest")


async def delay(lab: Lab, randomness: random.Random) -> None:
    """Delay everything between a member and all others."""
    delay_s = randomness.choice((0.02, 0.1, 0.3)) * randomness.uniform(0.7, 1.3)
    await _strain(lab, randomness, "delay", [_fault(await pick(lab, randomness), ALL, Mode.DELAY, delay_s=delay_s)])


async def slow(lab: Lab, randomness: random.Random) -> None:
    """Let little through between a member and all others."""
    bytes_per_s = randomness.choice((2_000, 10_000, 50_000))
    fault = _fault(await pick(lab, randomness), ALL, Mode.SLOW, bytes_per_s=bytes_per_s)
    await _strain(lab, randomness, "slow", [fault])


async def corrupt(lab: Lab, randomness: random.Random) -> None:
    """Flip bits between a member and another, or all others."""
    name = await pick(lab, randomness)
    peer = randomness.choice([ALL, _other(lab, randomness, name)])
    await _strain(lab, randomness, "corrupt", [_fault(name, peer, Mode.CORRUPT)])


async def reset(lab: Lab, randomness: random.Random) -> None:
    """Reset the connections between two members, and every new one."""
    name = await pick(lab, randomness)
    await _strain(lab, randomness, "reset", [_fault(name, _other(lab, randomness, name), Mode.RESET)])


def _other(lab: Lab, randomness: random.Random, name: str) -> str:
    others = [one for one in lab.cluster.members.running() if one != name]
    if not others:
        raise NotNow("no other member runs")
    return randomness.choice(others)


def _fault(
    member: str, peer: str, mode: Mode, *, one_way: bool = False, delay_s: float = 0.0, bytes_per_s: int = 0
) -> LinkFault:
    return LinkFault(
        member=member,
        peer=peer,
        mode=mode,
        one_way=one_way,
        delay_s=delay_s,
        bytes_per_s=bytes_per_s,
        since=time.time(),
    )


async def _strain(lab: Lab, randomness: random.Random, kind: str, faults: list[LinkFault], what: str = "") -> None:
    duration_s = randomness.choice((0.5, 2.0, 5.0, 10.0)) * randomness.uniform(0.7, 1.3)
    text = what or ", ".join(str(fault) for fault in faults)
    with lab.inject(kind, f"{text}, for {duration_s:.1f} s"):
        async with lab.links.faulty(*faults):
            await asyncio.sleep(duration_s)
