"""Small transactions that ask every member for a lot of work when they are applied."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any, Final

from collectionstore_attack.attacks.large_values import BUCKET, COUNT, key, store
from collectionstore_attack.field import Attack, Field
from collectionstore_attack.flood import Request, each, flood

ITEMS_MAX: Final = 128
"""Items in one list of a transaction."""
CONCURRENCY: Final = 8
MANY: Final = 40
DOCUMENTS: Final = 20_000
PER_TRANSACTION: Final = 100


def transaction(compare: list[Any], then: list[Any], *, keyed: bool = False) -> Request:
    """Return a transaction as a request; `keyed` with an idempotency key of its own."""
    headers = {"Content-Type": "application/json"}
    if keyed:
        headers["Idempotency-Key"] = str(uuid.uuid4())
    body = json.dumps({"compare": compare, "then": then}).encode()
    return Request("POST", "/api/v1/transactions", body, headers)


def gets(number: int, *, distinct: bool) -> list[Any]:
    """Return as many gets of large values as are allowed: of one key, or of all keys in turn."""
    return [
        {"op": "get", "bucket": BUCKET, "key": key(number + (index if distinct else 0))} for index in range(ITEMS_MAX)
    ]


async def gets_of_one_value(field: Field) -> None:
    await flood(field, MANY, lambda number: transaction([], gets(number, distinct=False)))


async def gets_of_all_values(field: Field) -> None:
    await flood(field, MANY, lambda number: transaction([], gets(number, distinct=True)))


async def gets_with_a_key(field: Field) -> None:
    await flood(field, CONCURRENCY, lambda number: transaction([], gets(number, distinct=True), keyed=True))


async def compares_of_large_values(field: Field) -> None:
    operand = base64.b64encode(b"x").decode()

    def make(number: int) -> Request:
        compare = [
            {"bucket": BUCKET, "key": key(number + index), "field": "value", "operator": ">", "operand": operand}
            for index in range(ITEMS_MAX)
        ]
        return transaction(compare, [{"op": "get", "bucket": BUCKET, "key": key(number)}])

    await flood(field, MANY, make)


async def store_documents(field: Field) -> None:
    """Fill a collection with small documents, to be dropped at once."""
    await each(field, [Request("PUT", "/api/v1/collections/attack-drop")])
    batches = [
        transaction(
            [],
            [
                {"op": "put", "collection": "attack-drop", "id": f"{first + index}", "document": {"n": index}}
                for index in range(PER_TRANSACTION)
            ],
        )
        for first in range(0, DOCUMENTS, PER_TRANSACTION)
    ]
    await each(field, batches, concurrency=8)


async def drop_a_full_collection(field: Field) -> None:
    def make(number: int) -> Request:
        # The first drop is the large one; then the collection is created and dropped by all at once.
        return Request("DELETE" if number % 2 == 0 else "PUT", "/api/v1/collections/attack-drop")

    await flood(field, CONCURRENCY, make)


ATTACKS: Final = (
    Attack(
        "gets-of-one-value",
        f"{MANY} clients commit transactions with {ITEMS_MAX} gets of one 1 MiB value",
        gets_of_one_value,
        store,
    ),
    Attack(
        "gets-of-all-values",
        f"the same over {COUNT} values",
        gets_of_all_values,
        store,
    ),
    Attack("gets-with-a-key", "the same with an Idempotency-Key, whose answer is kept", gets_with_a_key, store),
    Attack(
        "compares-of-values",
        f"{ITEMS_MAX} guards on 1 MiB values in one transaction",
        compares_of_large_values,
        store,
    ),
    Attack(
        "drop-a-collection",
        f"a collection of {DOCUMENTS:,} documents is dropped, created and dropped",
        drop_a_full_collection,
        store_documents,
    ),
)
