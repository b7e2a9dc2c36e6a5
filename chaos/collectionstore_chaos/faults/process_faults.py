"""Faults of processes: killed, all of them killed, held."""

from __future__ import annotations

import asyncio
import random
import signal

from collectionstore_chaos.budget import NotNow
from collectionstore_chaos.lab import Lab

LEADER_SHARE = 0.5
"""So often a fault that picks one member picks the leader, when that is free."""


async def pick(lab: Lab, randomness: random.Random, *, lasting: bool = False) -> str:
    """Return a member that is free, the leader more often than chance would; with `lasting` one that never leaves.

    Raises NotNow.
    """
    names = lab.free(lasting=lasting)
    if randomness.random() < LEADER_SHARE:
        leader = await lab.leader_name()
        if leader in names:
            return leader
    return randomness.choice(names)


async def kill_member(lab: Lab, randomness: random.Random) -> None:
    """SIGKILL to one member; the supervisor starts it again."""
    await _kill(lab, "kill", [randomness.choice(lab.free())], randomness)


async def kill_leader(lab: Lab, randomness: random.Random) -> None:
    """SIGKILL to the leader."""
    leader = await lab.leader_name()
    if leader not in lab.free():
        raise NotNow("the leader has a fault already")
    await _kill(lab, "kill-leader", [leader], randomness)


async def kill_all(lab: Lab, randomness: random.Random) -> None:
    """SIGKILL to every member within a millisecond, those with other faults included."""
    names = lab.cluster.members.running()
    with lab.inject("kill-all", ", ".join(names)):
        for name in names:
            lab.cluster.members.send_signal(name, signal.SIGKILL)


async def pause(lab: Lab, randomness: random.Random) -> None:
    """SIGSTOP to a member, SIGCONT after a while: longer than an election timeout, or than connections last."""
    name = await pick(lab, randomness)
    duration_s = randomness.choice((0.3, 0.8, 1.5, 3.0, 6.0)) * randomness.uniform(0.7, 1.3)
    with lab.budget.member(name), lab.inject("pause", f"{name} for {duration_s:.1f} s"):
        lab.cluster.members.send_signal(name, signal.SIGSTOP)
        try:
            await asyncio.sleep(duration_s)
        finally:
            lab.cluster.members.resume(name)


async def _kill(lab: Lab, kind: str, names: list[str], randomness: random.Random) -> None:
    """Kill, with an immediate or a delayed restart."""
    held_s = randomness.uniform(0.5, 5.0) if randomness.random() < 0.3 else 0.0
    text = ", ".join(names) + (f", away for {held_s:.1f} s" if held_s else "")
    with lab.budget.member(*names), lab.inject(kind, text):
        if not held_s:
            for name in names:
                lab.cluster.members.send_signal(name, signal.SIGKILL)
            return
        async with lab.cluster.members.supervisor_paused():
            for name in names:
                lab.cluster.members.send_signal(name, signal.SIGKILL)
            await asyncio.sleep(held_s)
