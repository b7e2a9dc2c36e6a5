"""Runs a command that users type, until it exits."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.errors import CommandRefused

TIMEOUT_S: Final = 120.0


async def run(
    program: Path,
    *arguments: str,
    further: tuple[str, ...] = (),
    stdin: str = "",
    environment: Mapping[str, str] | None = None,
    merged: bool = False,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Run `program` and return its stdout, with `merged` also its stderr.

    `further` arguments, such as a connection, come first and are omitted in errors. Raises `CommandRefused` on failure.
    """
    process = await asyncio.create_subprocess_exec(
        program,
        *further,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT if merged else asyncio.subprocess.PIPE,
        env=environment,
    )
    try:
        async with asyncio.timeout(timeout_s):
            out, err = await process.communicate(stdin.encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        output = ((err or b"") + out).decode(errors="replace").strip()
        raise CommandRefused(f"{program.name} {shlex.join(arguments)}", process.returncode, output)
    return out.decode(errors="replace")
