# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""Writes that return the document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Literal, TypeVar

from collectionstore.errors import InvalidArgument
from collectionstore.models.bulk import check_replacement, check_update
from collectionstore.models.json_text import decode, filter_text
from collectionstore.models.queries import Projection, Sort, sort_body, without_none
from collectionstore.synchronous.handle import Handle
from collectionstore.synchronous.images import find_and_modify

T = TypeVar("T")

Filter = Mapping[str, Any]


class Modifying(Handle[T], Generic[T]):
    """Changes of one document that return it."""

    def find_one_and_update(
        self,
        filter: Filter,  # noqa: A002 - PyMongo's name
        update: Mapping[str, Any],
        *,
        projection: Projection = None,
        sort: Sort = None,
        upsert: bool = False,
        return_document: Literal["before", "after"] = "before",
        array_filters: Sequence[Filter] | None = None,
        timeout: object = None,
    ) -> T | None:
        """Update the first match, and return it as it was before or is after."""
        body = without_none(
            update=check_update(update), sort=sort_body(sort), upsert=upsert or None, array_filters=array_filters
        )
        return self._modify(filter, body, projection, return_document, timeout)

    def find_one_and_replace(
        self,
        filter: Filter,  # noqa: A002 - PyMongo's name
        replacement: T | Mapping[str, Any],
        *,
        projection: Projection = None,
        sort: Sort = None,
        upsert: bool = False,
        return_document: Literal["before", "after"] = "before",
        timeout: object = None,
    ) -> T | None:
        """Replace the first match, and return it as it was before or is after."""
        check_replacement(replacement)
        _, encoded = self.encoded(replacement)
        body = without_none(replacement=decode(encoded), sort=sort_body(sort), upsert=upsert or None)
        return self._modify(filter, body, projection, return_document, timeout)

    def find_one_and_delete(
        self,
        filter: Filter,  # noqa: A002 - PyMongo's name
        *,
        projection: Projection = None,
        sort: Sort = None,
        timeout: object = None,
    ) -> T | None:
        """Delete the first match, and return it."""
        return self._modify(filter, without_none(remove=True, sort=sort_body(sort)), projection, "before", timeout)

    def _modify(
        self,
        filter_: Filter,
        body: dict[str, Any],
        projection: Projection,
        which: Literal["before", "after"],
        timeout: object,
    ) -> T | None:
        if which not in ("before", "after"):
            raise InvalidArgument("return_document must be before or after")
        said = find_and_modify(
            self._context, self.name, {"filter": filter_text(filter_), **body}, which, timeout, projection=projection
        )
        if said.document is None:
            return None
        revision = said.revision if which == "after" else 0
        return self._documents.decode(said.id, revision, said.document)
