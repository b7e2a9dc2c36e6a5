"""Export and import of a collection."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Generic, Literal, TypeVar

from collectionstore.asynchronous.context import body_of
from collectionstore.asynchronous.handle import AsyncHandle
from collectionstore.errors import CollectionStoreError, ConnectionFailure, InvalidArgument
from collectionstore.models.json_text import decode, encode, filter_text
from collectionstore.models.queries import without_none
from collectionstore.models.results import ImportResult
from collectionstore.wire.requests import Request, json_request, segment

T = TypeVar("T")

BATCH_LINES = 1_000
BATCH_BYTES = 1 << 20
CUTS_MAX = 16
"""How often an export that is cut goes on, without a line in between."""


class AsyncPorting(AsyncHandle[T], Generic[T]):
    """The collection as lines of JSON, each a document with `_id` and `_revision`."""

    async def export_lines(
        self,
        filter: Mapping[str, Any] | None = None,  # noqa: A002 - as of find
        *,
        fields: Iterable[str] | None = None,
        at_revision: int | None = None,
        after_id: str | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield all documents that match as lines of JSON, of one state, in the order of their IDs.

        An export that is cut goes on behind its last line, in the same state. Each part is checked against the number
        and the SHA-256 of its trailer. Raises HistoryLost when the state is not kept any more.
        """
        wanted = without_none(filter=filter_text(filter) or None, fields=None if fields is None else list(fields))
        cuts = 0
        while True:
            body = encode({**wanted, **without_none(after=after_id)})
            request = json_request("POST", f"/collections/{segment(self.name)}:export", body)
            self._context.read_parameters(request, at_revision)
            feed = await self._context.runtime.open_lines(request)
            count, seen = 0, hashlib.sha256()
            try:
                while (line := await feed.next()) is not None:
                    if line.startswith(b'{"_trailer":'):
                        _check(decode(line)["_trailer"], count, seen.hexdigest())
                        return
                    count, cuts = count + 1, 0
                    seen.update(line + b"\n")
                    after_id = _id_of(line)
                    at_revision = at_revision or feed.revision or None
                    yield line
                raise ConnectionFailure("the export ended without its trailer", retryable=True)
            except ConnectionFailure as error:
                cuts += 1
                if not error.retryable or cuts > CUTS_MAX:
                    raise
            finally:
                await feed.close()

    async def import_lines(
        self,
        lines: Iterable[bytes | str],
        *,
        mode: Literal["insert", "skip", "upsert", "replace"] = "insert",
        timeout: object = None,
    ) -> AsyncIterator[ImportResult]:
        """Import lines of JSON, each a document with or without `_id`, and yield what was done so far.

        Lines go in batches, each with an idempotency key, so that what is sent again is applied once. `errors` has
        lines that failed, by their number in all of the input, from 1.
        """
        total = ImportResult()
        async for batch in _batches(lines):
            request = Request("POST", f"/collections/{segment(self.name)}:import", body=batch, writes=True, long=True)
            request.headers["Content-Type"] = "application/x-ndjson"
            request.parameters |= {"mode": mode, "max_errors": "1000"}
            said = body_of(await self._context.send(request, timeout))
            total = _sum(total, said)
            yield total

    async def import_documents(
        self,
        documents: Iterable[T | Mapping[str, Any]],
        *,
        mode: Literal["insert", "skip", "upsert", "replace"] = "insert",
        timeout: object = None,
    ) -> ImportResult:
        """Import documents; return what was done. Lines that failed are in `errors`, and raise nothing."""
        lines = (self._line(one) for one in documents)
        last = ImportResult()
        async for total in self.import_lines(lines, mode=mode, timeout=timeout):
            last = total  # it has all of those before
        return last

    def _line(self, document: T | Mapping[str, Any]) -> bytes:
        document_id, text = self.encoded(document)
        if document_id is None:
            return text
        head = b'{"_id":' + encode(document_id)
        return head + b"}" if text == b"{}" else head + b"," + text[1:]


async def _batches(lines: Iterable[bytes | str]) -> AsyncIterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for line in lines:
        if not isinstance(line, bytes | str):
            raise InvalidArgument(f"a line is a text, not a {type(line).__name__}")
        encoded = (line.encode() if isinstance(line, str) else line).rstrip(b"\r\n")
        if b"\n" in encoded:
            raise InvalidArgument("a line has no line feed within it")
        if batch and (len(batch) >= BATCH_LINES or size + len(encoded) > BATCH_BYTES):
            yield b"\n".join(batch)
            batch, size = [], 0
        batch.append(encoded)
        size += len(encoded) + 1
    if batch:
        yield b"\n".join(batch)


def _sum(total: ImportResult, said: Mapping[str, Any]) -> ImportResult:
    errors = [{**one, "line": one["line"] + total.lines} for one in said["errors"]]
    counts = {
        name: getattr(total, name) + int(said.get(name, 0))
        for name in ("lines", "inserted", "replaced", "skipped", "failed")
    }
    revision = max(total.revision, int(said.get("revision") or 0))
    return ImportResult(**counts, errors=[*total.errors, *errors], revision=revision)


def _id_of(line: bytes) -> str:
    found = decode(line)
    return str(found["_id"])


def _check(trailer: Mapping[str, Any], count: int, digest: str) -> None:
    if trailer.get("count") != count or trailer.get("sha256") != digest:
        raise CollectionStoreError("the export is not what its trailer says: it was changed on the way")
