"""UUIDv7 (RFC 9562) for documents that a transaction inserts: the store makes no IDs there."""

from __future__ import annotations

import os
import time
import uuid


def new_id(now_ms: int | None = None, random_bytes: bytes | None = None) -> str:
    """Return a UUID of version 7: the time in milliseconds, then 74 random bits."""
    moment = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    chance = int.from_bytes(os.urandom(10) if random_bytes is None else random_bytes, "big")
    number = (
        (moment & ((1 << 48) - 1)) << 80 | 7 << 76 | (chance >> 68 & 0xFFF) << 64 | 2 << 62 | chance & ((1 << 62) - 1)
    )
    return str(uuid.UUID(int=number))
