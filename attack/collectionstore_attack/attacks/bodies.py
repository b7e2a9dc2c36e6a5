"""Bodies that are expensive to read, valid or not."""

from __future__ import annotations

from typing import Final

from collectionstore_attack.field import Attack, Field
from collectionstore_attack.flood import Request, each, flood

CONCURRENCY: Final = 4
DOCUMENT_BYTES: Final = (1 << 20) - 16
TRANSACTION_BYTES: Final = (2 << 20) - 16
COLLECTION: Final = "/api/v1/collections/attack-bodies"
_JSON: Final = {"Content-Type": "application/json"}


def filled(prefix: bytes, piece: bytes, suffix: bytes, size: int) -> bytes:
    """Return `prefix`, as many `piece` as fit, and `suffix`, in at most `size` bytes."""
    return prefix + piece * ((size - len(prefix) - len(suffix)) // len(piece)) + suffix


def _wide(size: int) -> bytes:
    fields = b",".join(b'"k%06d":%d' % (number, number % 10) for number in range(size // 13))
    return b"{" + fields + b"}"


DOCUMENTS: Final[dict[str, bytes]] = {
    "brackets": b'{"a":' + b"[" * (DOCUMENT_BYTES - 5),
    "nested": filled(b'{"a":[', b"[" * 90 + b"]" * 90 + b",", b"0]}", DOCUMENT_BYTES),
    "numbers": filled(b'{"a":[', b"1E2,", b"0]}", DOCUMENT_BYTES),
    "decimals": filled(b'{"a":[', b"0.1234567890123456789,", b"0]}", DOCUMENT_BYTES),
    "one number": filled(b'{"a":', b"9", b"}", DOCUMENT_BYTES),
    "escapes": filled(b'{"a":"', b"\\u00e9", b'"}', DOCUMENT_BYTES),
    "surrogates": filled(b'{"a":"', b"\\ud83d\\ude00", b'"}', DOCUMENT_BYTES),
    "wide object": _wide(DOCUMENT_BYTES),
    "equal keys": filled(b"{", b'"a":1,', b'"b":1}', DOCUMENT_BYTES),
    "empty objects": filled(b'{"a":[', b"{},", b"0]}", DOCUMENT_BYTES),
    "white space": filled(b'{"a":1', b" ", b"}", DOCUMENT_BYTES),
    "half a string": filled(b'{"a":"', b"x", b"", DOCUMENT_BYTES),
    "bad UTF-8": filled(b'{"a":"', b"\xc3\x28", b'"}', DOCUMENT_BYTES),
}

TRANSACTIONS: Final[dict[str, bytes]] = {
    "brackets": b"[" * TRANSACTION_BYTES,
    "brackets in then": b'{"then":' + b"[" * (TRANSACTION_BYTES - 8),
    "many operations": filled(
        b'{"then":[', b'{"op":"get","bucket":"attack","key":"a"},', b'{"op":"get"}]}', TRANSACTION_BYTES
    ),
    "unknown fields": filled(b'{"then":[],"x":[', b"1E2,", b"0]}", TRANSACTION_BYTES),
    "large document": b'{"then":[{"op":"put","collection":"attack-bodies","id":"a","document":'
    + DOCUMENTS["numbers"]
    + b"}]}",
    "large base64": filled(
        b'{"then":[{"op":"put","bucket":"attack","key":"a","value":"', b"AAAA", b'"}]}', TRANSACTION_BYTES
    ),
}


async def create_collection(field: Field) -> None:
    """Create the collection that the documents are written to."""
    await each(field, [Request("PUT", COLLECTION)])


async def documents(field: Field) -> None:
    requests = [
        Request("PUT", f"{COLLECTION}/documents/d{number}", body, _JSON)
        for number, body in enumerate(DOCUMENTS.values())
    ]
    await flood(field, CONCURRENCY, lambda number: requests[number % len(requests)])


async def transaction_bodies(field: Field) -> None:
    requests = [Request("POST", "/api/v1/transactions", body, _JSON) for body in TRANSACTIONS.values()]
    await flood(field, CONCURRENCY, lambda number: requests[number % len(requests)])


async def brackets(field: Field) -> None:
    request = Request("POST", "/api/v1/transactions", TRANSACTIONS["brackets"], _JSON)
    await flood(field, CONCURRENCY, lambda _: request)


async def large_writes(field: Field) -> None:
    body = filled(b'{"a":"', b"x", b'"}', DOCUMENT_BYTES)
    await flood(field, 16, lambda number: Request("PUT", f"{COLLECTION}/documents/large-{number % 64}", body, _JSON))


ATTACKS: Final = (
    Attack("brackets", f"{CONCURRENCY} clients post 2 MiB of [[[[ as a transaction", brackets),
    Attack("documents", f"1 MiB documents: {', '.join(DOCUMENTS)}", documents, create_collection),
    Attack(
        "transaction-bodies", f"2 MiB transactions: {', '.join(TRANSACTIONS)}", transaction_bodies, create_collection
    ),
    Attack("large-writes", "16 clients write 1 MiB documents as fast as they can", large_writes, create_collection),
)
