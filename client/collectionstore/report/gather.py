"""Reads the items of a report, a few at a time; an item that cannot be read in time is listed with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from collectionstore.report.archive import Archive
from collectionstore.report.items import Item, ItemUnavailable, ReportPlan

CONCURRENCY: Final = 4
ITEM_TIMEOUT_S: Final = 15.0

OnProgress = Callable[[int, int, str], None]
"""Called with the number of items read, their total, and the path of the item that is being read."""


async def gather(plan: ReportPlan, archive: Archive, on_progress: OnProgress) -> None:
    """Add all items to the archive, in their order."""
    total, done = len(plan.items), 0
    slots = asyncio.Semaphore(CONCURRENCY)

    async def read(item: Item) -> bytes | ItemUnavailable:
        nonlocal done
        async with slots:
            on_progress(done, total, item.path)
            content = await _read(item)
            done += 1
            return content

    tasks = [asyncio.create_task(read(item), name=item.path) for item in plan.items]
    try:
        for item, task in zip(plan.items, tasks, strict=True):
            content = await task
            if isinstance(content, ItemUnavailable):
                archive.add_missing(item, str(content))
            else:
                archive.add(item, content)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    on_progress(total, total, "")


async def _read(item: Item) -> bytes | ItemUnavailable:
    try:
        async with asyncio.timeout(ITEM_TIMEOUT_S):
            return await item.read()
    except ItemUnavailable as error:
        return error
    except TimeoutError:
        return ItemUnavailable(f"no response within {ITEM_TIMEOUT_S:g} s")
    except OSError as error:
        return ItemUnavailable(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
