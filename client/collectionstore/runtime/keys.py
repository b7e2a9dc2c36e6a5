"""Idempotency keys: 128 random bits of a client, and a number."""

from __future__ import annotations

import base64
import itertools
import os


class Keys:
    """Makes keys that no other client makes; a process that forks must make another one."""

    def __init__(self, random_bytes: bytes | None = None) -> None:
        given = os.urandom(16) if random_bytes is None else random_bytes
        self._prefix = base64.urlsafe_b64encode(given).rstrip(b"=").decode()
        self._count = itertools.count(1)

    def make(self) -> str:
        """Return the next key, of some 25 characters."""
        return f"{self._prefix}.{next(self._count):x}"
