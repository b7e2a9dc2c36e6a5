"""csctl bench: operations on a collection of its own, at a fixed concurrency, and what they took."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import click

from collectionstore.cli.exit_codes import CommandError
from collectionstore.data import requests
from collectionstore.data.options import DataCommand, connection_options
from collectionstore.data.output import Output, note, output_options
from collectionstore.data.progress import Bar
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.errors import CollectionStoreError
from collectionstore.render.json_text import compact
from collectionstore.wire.requests import Request

KINDS: Final = ("put", "get", "update", "find")
TITLES: Final = {
    "operation": "OPERATION",
    "done": "DONE",
    "per_second": "PER SECOND",
    "p50_ms": "P50 MS",
    "p95_ms": "P95 MS",
    "p99_ms": "P99 MS",
    "max_ms": "MAX MS",
    "errors": "ERRORS",
}
FILL_LINES: Final = 500
FILL_BYTES: Final = 1 << 20
"""Of one request that writes documents before they are read."""
Operation = Callable[[Store, int], Awaitable[object]]


class BenchFailed(CommandError):
    """Nothing could be measured; the text has the first error."""


@click.command("bench", cls=DataCommand, short_help="Measure reads and writes of this cluster, from here.")
@click.option("--operations", default=",".join(KINDS), show_default=True, metavar="NAMES", help="Which, in this order.")
@click.option("--seconds", type=click.FloatRange(0.1, 3_600), default=5.0, show_default=True, help="Of each.")
@click.option("--concurrency", type=click.IntRange(1, 512), default=16, show_default=True, help="Operations in flight.")
@click.option("--documents", type=click.IntRange(1, 1_000_000), default=1_000, show_default=True, help="How many IDs.")
@click.option("--size", type=click.IntRange(1, 500_000), default=200, show_default=True, help="Bytes of a document.")
@output_options
@connection_options
def bench(
    operations: str, seconds: float, concurrency: int, documents: int, size: int, session: Session, out: Output
) -> None:
    """Measure operations on a collection of its own, which is dropped at the end.

    Each operation runs alone: so many in flight, each sent when the one before is answered. What is measured is this
    client, the network and the cluster together. For comparisons of versions use make bench of the repository.

    \b
    Example:
      csctl bench --operations put,get --seconds 10 --concurrency 64
    """
    kinds = operations.split(",")
    if wrong := [one for one in kinds if one not in KINDS]:
        raise click.UsageError(f"there is no operation {wrong[0][:20]!r}; allowed: {', '.join(KINDS)}")
    collection = f"csctl-bench-{secrets.token_hex(4)}"
    note(f"Measuring on the collection {collection}, {concurrency} operations in flight.")

    async def work(store: Store) -> list[dict[str, Any]]:
        await store.send(json_body("PUT", f"/collections/{segment(collection)}", writes=True))
        rows = []
        try:
            if {"get", "find"} & set(kinds):
                await _fill(store, collection, documents, size)
            for kind in kinds:
                rows.append(
                    await _measure(store, kind, _operation(kind, collection, documents, size), seconds, concurrency)
                )
        finally:
            await asyncio.shield(store.send(json_body("DELETE", f"/collections/{segment(collection)}", writes=True)))
        return rows

    rows = session.run(work, "cannot measure")
    out.rows(rows, titles=TITLES)


def _document(size: int) -> str:
    return compact({"n": 0, "text": "x" * max(1, size - 20)})


def _id(number: int) -> str:
    return f"d{number:07}"


async def _fill(store: Store, collection: str, documents: int, size: int) -> None:
    """Write all documents, so that what is read is there."""
    body = _document(size)
    at_once = max(1, min(FILL_LINES, FILL_BYTES // (len(body) + 60)))
    with Bar("writing documents", total=documents, unit="documents") as bar:
        for begin in range(0, documents, at_once):
            numbers = range(begin, min(begin + at_once, documents))
            text = "\n".join(f'{{"op":"put","id":"{_id(number)}","document":{body}}}' for number in numbers)
            request = Request("POST", f"/collections/{segment(collection)}:bulk", writes=True, long=True)
            request.body = text.encode()
            request.headers["Content-Type"] = "application/x-ndjson"
            request.parameters["mode"] = "unordered"
            await store.send(request)
            bar.at(begin + len(numbers))


def _operation(kind: str, collection: str, documents: int, size: int) -> Operation:
    body = _document(size).encode()

    async def run(store: Store, number: int) -> object:
        document_id = _id(number % documents)
        match kind:
            case "put":
                return await store.send(requests.put_document(collection, document_id, body))
            case "get":
                return await store.send(requests.get_document(collection, document_id))
            case "update":
                change = b'{"$inc":{"n":1}}'
                return await store.send(requests.update_document(collection, document_id, change, upsert=True))
            case _:
                found = {"filter": {"_id": document_id}, "limit": 1}
                return await store.send(json_body("POST", f"/collections/{segment(collection)}:find", found))

    return run


async def _measure(store: Store, kind: str, run: Operation, seconds: float, concurrency: int) -> dict[str, Any]:
    times: list[float] = []
    errors: list[CollectionStoreError] = []
    began = time.monotonic()
    end = began + seconds
    next_number = 0

    async def worker() -> None:
        nonlocal next_number
        while (now := time.monotonic()) < end:
            number, next_number = next_number, next_number + 1
            try:
                await run(store, number)
            except CollectionStoreError as error:
                errors.append(error)
                # A document that a get does not find is answered, too; anything else is looked at by a person.
                if len(errors) > concurrency and not times:
                    return
                continue
            times.append(time.monotonic() - now)

    with Bar(kind, total=round(seconds * 10), unit="") as bar:

        async def show() -> None:
            while True:
                bar.at(round((time.monotonic() - began) * 10), note=f"{len(times):,} done")
                await asyncio.sleep(0.1)

        shown = asyncio.create_task(show())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(worker())
        finally:
            shown.cancel()
    took = time.monotonic() - began
    if not times:
        raise errors[0] if errors else BenchFailed(f"no {kind} was done within {seconds:g} s")
    times.sort()
    return {
        "operation": kind,
        "done": len(times),
        "per_second": round(len(times) / took, 1),
        **{
            f"p{part}_ms": round(times[min(len(times) - 1, len(times) * part // 100)] * 1_000, 2)
            for part in (50, 95, 99)
        },
        "max_ms": round(times[-1] * 1_000, 2),
        "errors": len(errors),
    }
