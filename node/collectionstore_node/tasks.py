"""Tasks that end with the stack they belong to."""

from __future__ import annotations

import asyncio
from typing import Any


async def cancelled(task: asyncio.Task[Any]) -> None:
    """Cancel a task and wait until it has ended, however it ended."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
