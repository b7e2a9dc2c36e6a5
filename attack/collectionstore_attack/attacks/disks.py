"""Disks without a free byte, on members whose data are on small disks of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import aiohttp

from collectionstore_attack.field import Attack, Field
from collectionstore_attack.flood import Request, each, send, session
from collectionstore_testkit.faults.disks import fill_disk

KEYS: Final = 20
FILLER: Final = "filler"


async def store_keys(field: Field) -> None:
    """Store values that are deleted while disks are full."""
    await each(field, [Request("PUT", f"/api/v1/kv/attack/full-{number}", b"x" * 10_000) for number in range(KEYS)])


async def _full(field: Field, disks: list[Path]) -> None:
    """Fill the disks, delete values meanwhile, and take the filling away at the end."""
    fillers = [disk / FILLER for disk in disks]
    try:
        for filler in fillers:
            fill_disk(filler)
        async with session() as client:
            for number in range(KEYS):
                await _delete(client, field, f"full-{number}")
        await field.wait()
    finally:
        for filler in fillers:
            filler.unlink(missing_ok=True)


async def _delete(client: aiohttp.ClientSession, field: Field, key: str) -> None:
    try:
        answer = str(await send(client, field.clients[0], Request("DELETE", f"/api/v1/kv/attack/{key}")))
    except (aiohttp.ClientError, OSError) as error:
        answer = type(error).__name__
    field.count(answer)
    if answer not in ("200", "404"):
        field.broken.append(f"the delete of {key} was answered {answer} while a disk was full")


def _disks(field: Field) -> list[Path]:
    return sorted(field.state.glob("small-*"))


async def one_disk(field: Field) -> None:
    await _full(field, _disks(field)[:1])


async def all_disks(field: Field) -> None:
    await _full(field, _disks(field))


ATTACKS: Final = (
    Attack("disk-full-one", "the disk of one member has no free byte", one_disk, store_keys, read_only=True),
    Attack("disk-full-all", "the disks of all members have no free byte", all_disks, store_keys, read_only=True),
)
