"""Gets the items of a report, a few at a time; what cannot be had in time is written down with the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from collectionstore_local.report.archive import Archive
from collectionstore_local.report.items import Item, NotHad, Subject

AT_ONCE: Final = 4
ITEM_S: Final = 15.0

Shown = Callable[[int, int, str], None]
"""Told how many of how many items are done, and which one is being waited for."""


async def gather(subject: Subject, archive: Archive, shown: Shown) -> None:
    """Put all items into the archive, in their order."""
    total, done = len(subject.items), 0
    slots = asyncio.Semaphore(AT_ONCE)

    async def get(item: Item) -> bytes | NotHad:
        nonlocal done
        async with slots:
            shown(done, total, item.path)
            got = await _get(item)
            done += 1
            return got

    waiting = [asyncio.create_task(get(item), name=item.path) for item in subject.items]
    try:
        for item, task in zip(subject.items, waiting, strict=True):
            got = await task
            if isinstance(got, NotHad):
                archive.missing(item, str(got))
            else:
                archive.add(item, got)
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    shown(total, total, "")


async def _get(item: Item) -> bytes | NotHad:
    try:
        async with asyncio.timeout(ITEM_S):
            return await item.get()
    except NotHad as error:
        return error
    except TimeoutError:
        return NotHad(f"no answer within {ITEM_S:g} s")
    except OSError as error:
        return NotHad(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
