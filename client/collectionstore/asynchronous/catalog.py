"""Indexes and options of a collection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from collectionstore.asynchronous.context import body_of
from collectionstore.asynchronous.handle import AsyncHandle
from collectionstore.errors import CollectionNotFound, DeadlineExceeded, InvalidArgument, NotFound
from collectionstore.models.json_text import encode
from collectionstore.models.queries import Sort, sort_body, text, without_none
from collectionstore.settings.durations import seconds_of
from collectionstore.settings.options import TIMEOUT_MAX_S
from collectionstore.wire.operations import CreateIndex, DropCollection, DropIndex, ListIndexes
from collectionstore.wire.requests import json_request, segment

T = TypeVar("T")

Filter = Mapping[str, Any]

LOOK_S = 0.05
"""How often an index that is built is looked at, at first."""


class AsyncCatalog(AsyncHandle[T], Generic[T]):
    """What a collection has besides documents."""

    async def create_index(
        self,
        keys: Sort,
        *,
        name: str | None = None,
        unique: bool = False,
        sparse: bool = False,
        fold: Sequence[str] = (),
        filter: Filter | None = None,  # noqa: A002 - the API's name
        timeout: object = None,
    ) -> str:
        """Create an index, which is then built, and return its name; `filter` makes it a partial one.

        Without `name` it is made of the fields, as in `born_1_name_-1`, in small letters.
        """
        fields = sort_body(keys)
        if not fields:
            raise InvalidArgument("an index has fields: a name, or pairs of a name and 1 or -1")
        made = name or "_".join(f"{field}_{way}" for field, way in fields.items()).lower().replace(".", "-")
        body = without_none(
            name=made,
            fields=fields,
            unique=unique or None,
            sparse=sparse or None,
            fold=list(fold) or None,
            filter=filter,
        )
        await self._context.call(CreateIndex(collection=self.name, body=encode(body)), timeout)
        return made

    async def list_indexes(self, *, timeout: object = None) -> list[dict[str, Any]]:
        """Return the indexes with their state: `building` or `ready`."""
        return list(body_of(await self._context.call(ListIndexes(collection=self.name), timeout))["indexes"])

    async def wait_for_index(self, name: str, *, timeout: object = None) -> None:
        """Wait until an index is ready. Raises DeadlineExceeded, and NotFound if there is none."""
        left_s = self._context.timeout_s if timeout is None else seconds_of("timeout", timeout, 0.001, TIMEOUT_MAX_S)
        pause_s = LOOK_S
        while True:
            found = [one for one in await self.list_indexes(timeout=timeout) if one["name"] == name]
            if found and found[0]["state"] == "ready":
                return
            if not found:
                problem = {"code": "index_not_found", "status": 404, "detail": "there is no such index"}
                raise NotFound({**problem, "outcome": "not_applied"})
            if left_s <= 0:
                raise DeadlineExceeded("the index is still being built", outcome="not_applied")
            # Building is reported nowhere else: it is looked at, less and less often.
            await self._context.runtime.sleep(min(pause_s, left_s))
            left_s -= pause_s
            pause_s = min(pause_s * 1.5, 1.0)

    async def drop_index(self, name: str, *, timeout: object = None) -> None:
        """Drop an index."""
        await self._context.call(DropIndex(collection=self.name, name=text("a name", name)), timeout)

    async def drop(self, *, timeout: object = None) -> None:
        """Drop the collection with all its documents; one that does not exist is no error."""
        try:
            await self._context.call(DropCollection(collection=self.name), timeout)
        except CollectionNotFound:
            pass  # as in PyMongo: it is not there

    async def options(self, *, timeout: object = None) -> dict[str, Any]:
        """Return the options of the collection: its schema, who makes IDs, its ttl."""
        request = json_request("GET", f"/collections/{segment(self.name)}")
        found = body_of(await self._context.send(request, timeout)).get("options")
        return dict(found or {})

    async def configure(self, *, timeout: object = None, **options: Any) -> dict[str, Any]:
        """Change options: `schema`, `ids`, `sequence_start`, `ttl`; None sets the default. Return all of them."""
        request = json_request("PATCH", f"/collections/{segment(self.name)}", encode(options), writes=True)
        request.headers["Content-Type"] = "application/merge-patch+json"
        found = body_of(await self._context.send(request, timeout)).get("options")
        return dict(found or {})

    async def validate(self, *, timeout: object = None, **options: Any) -> dict[str, Any]:
        """Check documents against the schema, or against another one: docs/reference/schemas.md."""
        request = json_request("POST", f"/collections/{segment(self.name)}:validate", encode(options), long=True)
        return body_of(await self._context.send(request, timeout))
