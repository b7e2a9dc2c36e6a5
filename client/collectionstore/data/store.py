"""The store as the commands use it: requests of the client, whose texts of documents pass as the store has them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec

from collectionstore.data.requests import get_document, json_body, read_at
from collectionstore.render.json_text import compact
from collectionstore.runtime.lines import LineFeed
from collectionstore.runtime.loop import AsyncRuntime
from collectionstore.runtime.watching import WatchFeed
from collectionstore.settings.options import Options
from collectionstore.wire.answers import Answer
from collectionstore.wire.requests import Request, segment

PAGE_MAX: Final = 1_000
MANY: Final = 1_000
"""Documents of one request that changes many."""


class _Found(msgspec.Struct):
    id: str
    revision: int
    document: msgspec.Raw


class _Page(msgspec.Struct):
    documents: list[_Found]
    next_cursor: str | None = None
    revision: int = 0


class Store:
    """One cluster, for one event loop."""

    def __init__(self, options: Options) -> None:
        self._runtime = AsyncRuntime(options)

    async def close(self) -> None:
        """Close the connections."""
        await self._runtime.close()

    async def send(self, request: Request) -> Answer:
        """Send a request and return its answer. Raises CollectionStoreError."""
        return await self._runtime.send(request)

    async def lines(self, request: Request, body: AsyncIterator[bytes] | None = None) -> LineFeed:
        """Send a request whose answer is lines, and whose body may be a stream. Close what is returned.

        Raises CollectionStoreError when it is read.
        """
        request.pieces = body
        return await self._runtime.open_lines(request)

    async def watch(self, body: Mapping[str, Any]) -> WatchFeed:
        """Begin a watch that goes on over lost connections. Raises CollectionStoreError."""
        return await self._runtime.open_watch(body, "raise")

    async def ask(self, request: Request) -> Any:
        """Send a request and return the JSON of its answer. Raises CollectionStoreError."""
        answer = await self.send(request)
        return msgspec.json.decode(answer.body or b"null")

    async def get(self, path: str, parameters: Mapping[str, str] | None = None) -> Any:
        """Read a path of the API."""
        return await self.ask(Request("GET", path, dict(parameters or {})))

    async def post(self, path: str, body: Any, *, writes: bool = True) -> Any:
        """Post a value to a path of the API; a read does so, too, with `writes` false."""
        return await self.ask(json_body("POST", path, body, writes=writes, long=True))

    async def document(
        self, collection: str, document_id: str, *, at_revision: int | None = None, stale: bool = False
    ) -> str:
        """Return the text of a document, with `_id` and `_revision` before its own members."""
        answer = await self.send(get_document(collection, document_id, at_revision=at_revision, stale=stale))
        return line_of(document_id, answer.etag or answer.revision, answer.body or b"{}")

    async def find(
        self, collection: str, body: Mapping[str, Any], *, limit: int | None, at_revision: int | None, stale: bool
    ) -> AsyncIterator[tuple[str, bool]]:
        """Yield texts of what matches, page by page; `limit` None for all. With the last one of `limit`, whether there
        are more."""
        path, left, cursor = f"/collections/{segment(collection)}:find", limit, None
        while True:
            size = PAGE_MAX if left is None else min(left, PAGE_MAX)
            page_body = {**body, "limit": size, **({"cursor": cursor} if cursor else {})}
            if cursor:
                page_body.pop("skip", None)
            request = json_body("POST", path, page_body, long=True)
            read_at(request, at_revision=at_revision, stale=stale)
            answer = await self.send(request)
            page = msgspec.json.decode(answer.body or b"{}", type=_Page)
            cursor = page.next_cursor
            if left is not None:
                left -= len(page.documents)
            for position, one in enumerate(page.documents):
                last = left == 0 and position == len(page.documents) - 1
                yield line_of(one.id, one.revision, bytes(one.document)), last and cursor is not None
            if cursor is None or left == 0:
                return

    async def count(self, collection: str, chosen: Mapping[str, Any]) -> int:
        """Return how many documents match."""
        found = await self.post(f"/collections/{segment(collection)}:count", {"filter": chosen}, writes=False)
        return int(found["count"])

    async def many(self, collection: str, action: str, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """Change all that match, by requests that go on where the last one ended; yield their counts."""
        cursor: str | None = None
        while True:
            again = {"cursor": cursor} if cursor else {}
            part = await self.post(f"/collections/{segment(collection)}:{action}", {**body, "limit": MANY, **again})
            yield part
            cursor = part["next_cursor"]
            if cursor is None:
                return

    async def pages(
        self,
        path: str,
        name: str,
        *,
        prefix: str = "",
        limit: int | None = None,
        parameters: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """Return what a list of the API has, all of it or `limit` items."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while limit is None or len(found) < limit:
            size = PAGE_MAX if limit is None else min(PAGE_MAX, limit - len(found))
            asked = {**(parameters or {}), "limit": str(size)}
            if prefix:
                asked["prefix"] = prefix
            if cursor:
                asked["cursor"] = cursor
            page = await self.get(path, asked)
            found += page[name]
            cursor = page.get("next_cursor")
            if cursor is None:
                break
        return found

    async def collection_names(self, *, prefix: str = "", limit: int | None = None) -> list[str]:
        """Return the names of collections."""
        return [str(one["name"]) for one in await self.pages("/collections", "collections", prefix=prefix, limit=limit)]

    async def index_names(self, collection: str) -> list[str]:
        """Return the names of the indexes of a collection."""
        found = await self.get(f"/collections/{segment(collection)}/indexes")
        return [str(one["name"]) for one in found["indexes"]]

    async def document_ids(self, collection: str, *, prefix: str, limit: int) -> list[str]:
        """Return IDs that begin so, in their order."""
        path = f"/collections/{segment(collection)}/documents"
        return [str(one["id"]) for one in await self.pages(path, "documents", prefix=prefix, limit=limit)]


def line_of(document_id: str, revision: int, text: bytes) -> str:
    """Return a document as an export writes it: `_id` and `_revision` before its own text."""
    document = text.decode()
    head = f'{{"_id":{compact(document_id)},"_revision":{revision}'
    inner = document[1:].lstrip()
    return head + (inner if inner.startswith("}") else f",{inner}")
