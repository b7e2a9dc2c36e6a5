"""Faults of disks: full, failing, slow, damaged, emptied; and what brings a damaged member back.

Members are damaged while they do not run and the supervisor is paused, so that it does not restart them. What must
follow: the member refuses to start, or starts with everything that it ever acknowledged. One that was damaged is
replaced through the operator by a new incarnation on an empty disk, at the latest when the fault is over: damage may
hide in blocks that have not been read yet.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from collectionstore_chaos.budget import NotNow
from collectionstore_chaos.faults.process_faults import pick
from collectionstore_chaos.lab import Lab, until
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.faults.disks import flip_bit, wipe
from collectionstore_testkit.faults.shim import ALL_SYNCS

REFUSED = 65
"""Exit code of a node that refuses its data directory."""
SETTLE_S = 20.0
"""A damaged member may take so long to show what becomes of it."""
WHOLE_TIMEOUT_S = 180.0
REPLACE_TIMEOUT_S = 60
TIMED_OUT = 6
"""csctl's exit code when an operation timed out and continues in the background."""


async def disk_full(lab: Lab, randomness: random.Random) -> None:
    """No byte of space for a while: on a small disk that was filled, or by the shim."""
    name = await pick(lab, randomness, lasting=True)
    duration_s = randomness.uniform(1.0, 8.0)
    small = lab.small.has(name, lab.cluster.members.data(name))
    how = "tmpfs filled" if small else "ENOSPC by the shim"
    with _damaged(lab, name):
        with lab.inject("disk-full", f"{name} for {duration_s:.1f} s, {how}"):
            try:
                if small:
                    await asyncio.to_thread(lab.small.fill, name)
                else:
                    lab.shim.of(name).fill(full=True)
                await asyncio.sleep(duration_s)
            finally:
                lab.small.empty(name) if small else lab.shim.of(name).fill(full=False)
        await _recover(lab, name)


async def sync_error(lab: Lab, randomness: random.Random) -> None:
    """One fsync, or every one for a while, fails with EIO."""
    name = await pick(lab, randomness, lasting=True)
    duration_s = randomness.choice((0.0, 2.0, 5.0))
    text = f"{name}, " + (f"every sync for {duration_s:g} s" if duration_s else "the next sync")
    control = lab.shim.of(name)
    with _damaged(lab, name):
        with lab.inject("sync-error", text):
            before = control.met
            try:
                control.fail_syncs(ALL_SYNCS if duration_s else 1)
                await asyncio.sleep(duration_s)

                async def met() -> bool:
                    return control.met > before

                await until(met, SETTLE_S)
            finally:
                control.fail_syncs(0)
        await _recover(lab, name)


async def slow_sync(lab: Lab, randomness: random.Random) -> None:
    """Every fsync takes long, for a while: sometimes longer than an election timeout."""
    name = await pick(lab, randomness, lasting=True)
    delay_ms = randomness.choice((20, 100, 400, 1500))
    duration_s = randomness.uniform(1.0, 6.0)
    control = lab.shim.of(name)
    with lab.budget.member(name), lab.inject("slow-sync", f"{name}, {delay_ms} ms for {duration_s:.1f} s"):
        try:
            control.delay_syncs(delay_ms)
            await asyncio.sleep(duration_s)
        finally:
            control.delay_syncs(0)


async def flip_in_wal(lab: Lab, randomness: random.Random) -> None:
    """One bit of the write-ahead log of a member that does not run."""
    await _flip(lab, randomness, "wal-flip", ".log")


async def flip_in_sst(lab: Lab, randomness: random.Random) -> None:
    """One bit of a table of a member that does not run."""
    await _flip(lab, randomness, "sst-flip", ".sst")


async def empty_disk(lab: Lab, randomness: random.Random) -> None:
    """Everything on the disk of a member is gone when it is started again: it must come as another one."""
    name = await pick(lab, randomness, lasting=True)
    before = await lab.cluster.status(name)
    with _damaged(lab, name):
        with lab.inject("disk-emptied", name):
            await _while_down(lab, name, lambda: wipe(lab.cluster.members.data(name)))
        await _await_whole(lab, name, not_as=before.node_id if before else "")


async def _flip(lab: Lab, randomness: random.Random, kind: str, suffix: str) -> None:
    name = await pick(lab, randomness, lasting=True)
    before = await lab.cluster.status(name)
    with _damaged(lab, name):
        done = await _while_down(lab, name, lambda: flip_bit(lab.cluster.members.data(name), suffix, randomness))
        if done is None:
            raise NotNow(f"{name} has no file {suffix}")
        with lab.inject(kind, f"{name}: {done}"):

            async def settled() -> bool:
                return await lab.cluster.is_whole(name) or _refused(lab, name)

            await until(settled, SETTLE_S)
        if _refused(lab, name):
            lab.report("refused", f"{name} refused its disk, as it must when something is missing")
        else:
            lab.report("recovered", f"{name} started on its disk")
            # It keeps running with the undetected damage on its disk, as in production.
            await asyncio.sleep(randomness.uniform(0.0, 10.0))
        await _replace(lab, name)
        await _await_whole(lab, name, not_as=before.node_id if before else "")


async def _while_down(lab: Lab, name: str, act: Callable[[], str | None]) -> str | None:
    """Kill a member and damage its disk before it is restarted."""
    async with lab.cluster.members.supervisor_paused():
        lab.cluster.members.send_signal(name, signal.SIGKILL)

        async def ended() -> bool:
            return name not in lab.cluster.members.running()

        if not await until(ended, SETTLE_S, poll_s=0.01):
            raise ClusterFailed(f"{name} does not end after SIGKILL")
        return await asyncio.to_thread(act)


@contextmanager
def _damaged(lab: Lab, name: str) -> Iterator[None]:
    """Have a member for a fault of its disk, which counts as damaged until the block ends."""
    with lab.budget.member(name):
        lab.budget.damage(name)
        try:
            yield
        finally:
            lab.budget.repaired(name)


def _refused(lab: Lab, name: str) -> bool:
    last = lab.cluster.members.last_exit(name)
    return last is not None and last.code == REFUSED


async def _recover(lab: Lab, name: str) -> None:
    """Wait until a member whose disk works again is whole; one that refuses its disk is replaced."""

    async def settled() -> bool:
        return await lab.cluster.is_whole(name) or _refused(lab, name)

    await until(settled, WHOLE_TIMEOUT_S)
    if _refused(lab, name):
        lab.report("refused", f"{name} refused its disk")
        await _replace(lab, name)
    await _await_whole(lab, name, not_as="")


async def _replace(lab: Lab, name: str) -> None:
    """Have the operator replace a member, in one joint change, by a new incarnation on an empty disk."""
    lab.report("replace", f"{name} through csctl local replace")
    deadline = ("--timeout", str(REPLACE_TIMEOUT_S))
    await lab.cluster.local.csctl("replace", name, *deadline, timeout_s=REPLACE_TIMEOUT_S + 15, allowed=(0, TIMED_OUT))


async def _await_whole(lab: Lab, name: str, *, not_as: str) -> None:
    async def whole() -> bool:
        return await lab.cluster.is_whole(name, not_as=not_as)

    if not await until(whole, WHOLE_TIMEOUT_S):
        raise ClusterFailed(f"{name} was not whole again {WHOLE_TIMEOUT_S:g} s after its disk was damaged")
    lab.report("whole", f"{name} votes and is up to date" + (" on a new disk" if not_as else ""))
