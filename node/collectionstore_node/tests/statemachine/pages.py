"""Pages read in one go: `statemachine.reads` without its steps."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

from collectionstore_node.statemachine import reads
from collectionstore_node.statemachine.reads import PAGE_BYTES_MAX, Listed, ListedCollection, Page
from collectionstore_node.statemachine.view import View

T = TypeVar("T")


def complete(steps: Generator[None, None, T]) -> T:
    """Run `steps` to the end."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            value: T = end.value
            return value


def list_documents(
    view: View,
    collection: str,
    *,
    prefix: str = "",
    after: str | None = None,
    limit: int,
    bytes_max: int = PAGE_BYTES_MAX,
) -> Page[Listed]:
    return complete(
        reads.list_documents(
            view, collection, prefix=prefix, after=after, limit=limit, bytes_max=bytes_max, show=lambda item: item
        )
    )


def list_keys(
    view: View,
    bucket: str,
    *,
    prefix: str = "",
    after: str | None = None,
    limit: int,
    bytes_max: int = PAGE_BYTES_MAX,
) -> Page[Listed]:
    return complete(
        reads.list_keys(
            view, bucket, prefix=prefix, after=after, limit=limit, bytes_max=bytes_max, show=lambda item: item
        )
    )


def list_collections(view: View, *, prefix: str = "", after: str | None = None, limit: int) -> Page[ListedCollection]:
    return complete(reads.list_collections(view, prefix=prefix, after=after, limit=limit, show=lambda item: item))
