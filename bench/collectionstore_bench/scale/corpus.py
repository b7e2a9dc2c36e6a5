"""The documents that are loaded: their names, and the transactions that write them."""

from __future__ import annotations

import random
from collections.abc import Iterator

COLLECTION = "many"
SIZE_BYTES = 255
BATCH = 100
"""Documents of a transaction."""


def document_id(number: int) -> str:
    """Return the ID of a document; IDs ascend with their numbers."""
    return f"document-{number:010d}"


def transactions(count: int) -> Iterator[bytes]:
    """Yield the bodies of the transactions of `count` documents; their text does not compress much."""
    chance = random.Random(13)
    for at in range(0, count, BATCH):
        operations = []
        for number in range(at, min(at + BATCH, count)):
            head = f'{{"number":{number},"text":"'
            text = chance.randbytes((SIZE_BYTES - len(head)) // 2).hex()
            document = f'{head}{text}"}}'
            operations.append(
                f'{{"op":"put","collection":"{COLLECTION}","id":"{document_id(number)}","document":{document}}}'
            )
        yield f'{{"then":[{",".join(operations)}]}}'.encode()
