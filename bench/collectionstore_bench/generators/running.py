"""Runs load generators, and makes the random text that their documents are cut from."""

from __future__ import annotations

import asyncio
import random
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectionstore_testkit.errors import CommandFailed

FILLING_BYTES: Final = 1 << 20
SEED: Final = 20_240_607
GRACE_S: Final = 60.0
"""A generator gets this much longer than the run that it was asked for."""


def write_filling(folder: Path) -> Path:
    """Write the text that all documents are cut from into `folder`; the same in every run."""
    path = folder / "filling"
    path.write_bytes(random.Random(SEED).randbytes(FILLING_BYTES // 2).hex().encode())
    return path


async def run(command: Sequence[str], *, seconds: float) -> tuple[str, float]:
    """Run a generator; return what it printed, and the processor time that it used, in seconds.

    Processor time is that of all child processes that ended meanwhile: run nothing else beside it. Raises
    CommandFailed.
    """
    before = _children_cpu_s()
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(seconds + GRACE_S):
            printed, complaints = await process.communicate()
    except TimeoutError:
        raise CommandFailed(f"{command[0]} did not end within {seconds + GRACE_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = (complaints or printed).decode(errors="replace")
        raise CommandFailed(f"{' '.join(command)}\nexited with code {process.returncode}:\n{said}")
    return printed.decode(errors="replace"), _children_cpu_s() - before


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
