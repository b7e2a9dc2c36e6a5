"""Values as large as allowed, in one bucket, for the attacks that read them."""

from __future__ import annotations

import os
from typing import Final

from collectionstore_attack.field import Field
from collectionstore_attack.flood import Request, each

BUCKET: Final = "attack"
COUNT: Final = 32
VALUE_BYTES: Final = 1 << 20
"""The largest value that is allowed."""


def key(number: int) -> str:
    """Return the name of one of the COUNT keys."""
    return f"large-{number % COUNT:03}"


async def store(field: Field) -> None:
    """Store COUNT values of VALUE_BYTES; random, so that no compression helps."""
    requests = [
        Request("PUT", f"/api/v1/kv/{BUCKET}/{key(number)}", os.urandom(VALUE_BYTES)) for number in range(COUNT)
    ]
    await each(field, requests)
