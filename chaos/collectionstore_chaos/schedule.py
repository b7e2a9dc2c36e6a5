"""Which faults are drawn, and when: all of it from the seed, but for what depends on who leads at that moment."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from collectionstore_chaos.budget import NotNow
from collectionstore_chaos.faults import disk_faults, link_faults, membership_faults, process_faults
from collectionstore_chaos.lab import Lab

Fault = Callable[[Lab, random.Random], Awaitable[None]]

KINDS: Final[Mapping[str, Fault]] = {
    "kill": process_faults.kill_member,
    "kill-leader": process_faults.kill_leader,
    "kill-all": process_faults.kill_all,
    "pause": process_faults.pause,
    "isolate": link_faults.isolate,
    "one-way": link_faults.one_way,
    "cut-link": link_faults.cut_link,
    "split": link_faults.split,
    "delay": link_faults.delay,
    "slow": link_faults.slow,
    "corrupt": link_faults.corrupt,
    "reset": link_faults.reset,
    "disk-full": disk_faults.disk_full,
    "sync-error": disk_faults.sync_error,
    "slow-sync": disk_faults.slow_sync,
    "wal-flip": disk_faults.flip_in_wal,
    "sst-flip": disk_faults.flip_in_sst,
    "disk-emptied": disk_faults.empty_disk,
    "scale": membership_faults.scale,
}
"""Every kind of fault by name, in the order in which they are listed."""
NEED_SHIM: Final = frozenset({"disk-full", "sync-error", "slow-sync"})

SWARM_SHARE: Final = 0.7
"""So many of the kinds take part in a run, drawn from its seed: some bugs hide behind other faults."""
FIRST_AFTER_S: Final = 2.0
PAUSE_S: Final = (0.2, 2.5)
BREATHE_SHARE: Final = 0.75
BREATHE_S: Final = 20.0
"""Before so many of the faults the cluster is given time to work again, at most so long: one that never works can
break no promise. The rest hit it while it still recovers."""


class Schedule:
    """The faults of one run."""

    def __init__(self, seed: int, only: Sequence[str]) -> None:
        """`only` are the kinds to draw from; none means all, of which the seed picks a swarm."""
        randomness = random.Random(f"schedule {seed}")
        self._seed = seed
        drawn = [kind for kind in KINDS if randomness.random() < SWARM_SHARE]
        self.kinds: tuple[str, ...] = tuple(only) or tuple(drawn) or tuple(KINDS)
        self.at_once: int = randomness.choice((2, 3, 4))
        """How many faults there may be at the same time."""
        self.refused = 0
        """How often a drawn fault was not possible at that moment."""
        self._random = randomness

    async def run(self, lab: Lab, until: float) -> None:
        """Draw and carry out faults until the monotonic moment `until`, and return when the last is over.

        Raises what a fault raises; the others are ended first.
        """
        running: set[asyncio.Task[None]] = set()
        number = 0
        await asyncio.sleep(FIRST_AFTER_S)
        try:
            while time.monotonic() < until:
                number += 1
                # One generator per fault, so that what it draws does not depend on the duration of another one.
                randomness = random.Random(f"fault {self._seed} {number}")
                kind = self._random.choice(self.kinds)
                running.add(asyncio.create_task(self._carry_out(kind, lab, randomness), name=kind))
                await asyncio.sleep(self._random.uniform(*PAUSE_S))
                if self._random.random() < BREATHE_SHARE:
                    await lab.breathe(min(BREATHE_S, max(0.0, until - time.monotonic())))
                running = _unfinished(running)
                while len(running) >= self.at_once and time.monotonic() < until:
                    left_s = until - time.monotonic()
                    await asyncio.wait(running, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
                    running = _unfinished(running)
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def _carry_out(self, kind: str, lab: Lab, randomness: random.Random) -> None:
        try:
            await KINDS[kind](lab, randomness)
        except NotNow:
            self.refused += 1


def _unfinished(tasks: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Return the tasks that still run. Raises what a finished one raised."""
    for task in tasks:
        if task.done():
            task.result()
    return {task for task in tasks if not task.done()}
