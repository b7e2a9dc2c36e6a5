"""Carries out one attack: the victim works before, during and after it, and the members are looked at."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from collectionstore_attack.attacker import READY, field_as_json
from collectionstore_attack.bounds import RECOVERY_MAX_S, Measured
from collectionstore_attack.field import Attack, Field
from collectionstore_attack.members import Snapshot, exits, floor_s, observe, reset_peaks, worst_delay_s, worst_hold_s
from collectionstore_attack.pauses import watched
from collectionstore_attack.victim import Victim
from collectionstore_testkit.clusters.errors import ClusterFailed

CALM_S: Final = 3.0
AFTER_S: Final = RECOVERY_MAX_S + 1.0
PREPARE_TIMEOUT_S: Final = 180.0
END_TIMEOUT_S: Final = 45.0
"""An attack gets so much longer than its time, to close its connections."""


class AttackFailed(Exception):
    """The attack could not be carried out; the text contains the output of its process."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Monotonic times of one attack."""

    calm: float
    began: float
    ended: float
    over: float


async def carry_out(attack: Attack, field: Field, memory_max: int) -> Measured:
    """Attack, and return what was measured. Raises AttackFailed or ClusterFailed."""
    process = await _start(attack, field)
    victim = Victim(field.clients)
    gone = ""
    try:
        await _line(process, PREPARE_TIMEOUT_S)
        before = await observe(field.clients, field.metrics)
        reset_peaks(before)
        async with watched() as pauses, victim.working():
            calm = time.monotonic()
            await asyncio.sleep(CALM_S)
            began = time.monotonic()
            findings = await _attack(process, field)
            ended = time.monotonic()
            await asyncio.sleep(AFTER_S)
            over = time.monotonic()
        try:
            after = await observe(field.clients, field.metrics)
            lost = await victim.lost_writes()
        except (ClusterFailed, TimeoutError) as error:
            # Not an error of this program: it is the worst that an attack can do.
            after, lost, gone = before, [], str(error) or "the victim's values cannot be read"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    moments = Moments(calm, began, ended, over)
    return _measured(attack, findings, victim, moments, before, after, memory_max, lost, gone, pauses.worst_s)


def _measured(
    attack: Attack,
    findings: dict[str, Any],
    victim: Victim,
    moments: Moments,
    before: Snapshot,
    after: Snapshot,
    memory_max: int,
    lost: list[str],
    gone: str,
    pause_s: float,
) -> Measured:
    hold_s = worst_hold_s(before, after)
    return Measured(
        attack=attack.name,
        answers=Counter(findings["answers"]),
        wrong_answers=findings["broken"],
        calm=victim.between(moments.calm, moments.began),
        during=victim.between(moments.began, moments.ended),
        after=victim.between(moments.ended, moments.over),
        ended=moments.ended,
        leader_changes=after.term - before.term,
        read_only=attack.read_only,
        exits=exits(before, after),
        delay_s=worst_delay_s(before, after),
        hold_s=hold_s,
        hold_floor_s=floor_s(after, hold_s),
        pause_s=pause_s,
        memory_before=max(one.now for one in before.memory),
        memory_peak=max(one.peak for one in after.memory),
        memory_after=max(one.now for one in after.memory),
        memory_max=memory_max,
        lost=lost,
        gone=gone,
    )


async def _start(attack: Attack, field: Field) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "collectionstore_attack.attacker",
        attack.name,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    process.stdin.write(field_as_json(field).encode() + b"\n")
    await process.stdin.drain()
    return process


async def _attack(process: asyncio.subprocess.Process, field: Field) -> dict[str, Any]:
    """Let the prepared process attack, and return its findings."""
    assert process.stdin is not None
    process.stdin.write(b"\n")
    await process.stdin.drain()
    line = await _line(process, field.seconds + END_TIMEOUT_S)
    findings: dict[str, Any] = json.loads(line)
    await process.wait()
    return findings


async def _line(process: asyncio.subprocess.Process, timeout_s: float) -> str:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(timeout_s):
            line = (await process.stdout.readline()).decode().strip()
    except TimeoutError:
        raise AttackFailed(f"the attacking process printed nothing within {timeout_s:g} s") from None
    if not line:
        raise AttackFailed(f"the attacking process exited with code {await process.wait()}")
    if line != READY and not line.startswith("{"):
        raise AttackFailed(f"the attacking process printed {line[:200]!r}")
    return line
