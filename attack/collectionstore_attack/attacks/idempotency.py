"""Keys of one client that push out those of another, and keys that are misused."""

from __future__ import annotations

import itertools
import uuid
from typing import Final

import aiohttp

from collectionstore_attack.attacks.large_values import store
from collectionstore_attack.attacks.transactions import gets, transaction
from collectionstore_attack.field import Attack, Field
from collectionstore_attack.flood import flood, session
from collectionstore_attack.raw import exchange, request

CONCURRENCY: Final = 32
PROBE: Final = "/api/v1/kv/attack/probe"


async def keys_pushed_out(field: Field) -> None:
    """Use thousands of keys with large answers, and check that an older key of another client is still known."""
    probe = str(uuid.uuid4())
    async with session("127.0.0.1") as client:
        first = await _put(client, field, probe)
        if first[0] // 100 != 2:
            field.broken.append(f"the first use of an Idempotency-Key was answered {first[0]}")
        large = itertools.cycle([True, False, False, False])
        await flood(
            field,
            CONCURRENCY,
            lambda number: transaction([], gets(number, distinct=True) if next(large) else [], keyed=True),
        )
        status, replayed = await _put(client, field, probe)
        if (status, replayed) != (first[0], "true"):
            field.broken.append(
                f"a key used {field.seconds:.0f} s ago was answered {status}, Idempotency-Replayed: {replayed}"
            )


async def _put(client: aiohttp.ClientSession, field: Field, key: str) -> tuple[int, str | None]:
    url = f"http://{field.clients[0]}{PROBE}"
    async with client.put(url, data=b"probe", headers={"Idempotency-Key": key}) as answer:
        await answer.read()
        return answer.status, answer.headers.get("Idempotency-Replayed")


async def misused_keys(field: Field) -> None:
    """Send keys that are none."""
    address = field.clients[0]
    lines = ("", "x" * 256, "\u00e9", "a\tb")
    while field.remaining():
        for line in lines:
            answer = await exchange(address, request("PUT", PROBE, address, {"Idempotency-Key": line}, b"x"), 5)
            _expect(field, answer, f"Idempotency-Key of {len(line)} characters")
        twice = f"PUT {PROBE} HTTP/1.1\r\nHost: {address}\r\nIdempotency-Key: a\r\nIdempotency-Key: b\r\n"
        answer = await exchange(address, f"{twice}Content-Length: 1\r\n\r\nx".encode(), 5)
        _expect(field, answer, "two Idempotency-Key lines")


def _expect(field: Field, answer: str, what: str) -> None:
    field.count(answer)
    sentence = f"{what}: answered {answer}, not 400"
    if answer != "400" and sentence not in field.broken:
        field.broken.append(sentence)


ATTACKS: Final = (
    Attack("keys-pushed-out", f"{CONCURRENCY} clients use new keys, for large answers too", keys_pushed_out, store),
    Attack("keys-misused", "two key lines in one request, keys that are too long", misused_keys),
)
