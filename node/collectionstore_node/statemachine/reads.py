"""Reads of a view: single targets, and pages in key order.

Lists are limited by number and by bytes, so that a page fits into memory whatever is stored. Whether the view is fresh
enough, as for a linearizable read, is up to the caller. What has expired, by the view's replicated time, is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from msgspec.structs import replace

from collectionstore_node.errors import InvalidRequest, ManyDeleted
from collectionstore_node.statemachine.catalog import Collection, find_collection, scan_collections
from collectionstore_node.statemachine.expiry_queue import is_there, left_of
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.keys import (
    CATALOG,
    bucket_prefix,
    documents_prefix,
    last_text,
    prefix_end,
    successor,
)
from collectionstore_node.statemachine.stored import EXPIRING, Stored, decode_stored
from collectionstore_node.statemachine.view import View

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Limit of the values in a page; a larger value is returned alone."""

EXPIRED: Final = Stored(0, 0, b"")
"""Stands for a document that has expired, where one is looked at: no document has an empty text."""
STEP_ITEMS: Final = 128
STEP_BYTES: Final = 256 * 1024
"""A step of a list ends after so many items, or with the item that reaches so many bytes."""

T = TypeVar("T")
L = TypeVar("L")


class Listed(NamedTuple):
    """A document or raw value in a list; `id` is the document's id or the raw value's key."""

    id: str
    stored: Stored


See: TypeAlias = Callable[[Listed], Listed | None]
"""From an item to what its reader sees of it; None for nothing."""


class ListedCollection(NamedTuple):
    """A collection in a list."""

    name: str
    collection: Collection


class Page(NamedTuple, Generic[T]):
    """One page of a list. `next_after` is the `after` of the next page, None on the last one."""

    items: tuple[T, ...]
    next_after: str | None


def read_revision(view: View) -> int:
    """Return the revision: the number of commands applied to `view`."""
    return read_header(view).revision


def get_document(view: View, collection: str, document_id: str) -> Stored | None:
    """Return the document, or None. Raises `InvalidRequest("collection_not_found")`."""
    return _get(view, _documents(view, collection) + document_id.encode())


def get_key(view: View, bucket: str, key: str) -> Stored | None:
    """Return the raw value, or None."""
    return _get(view, bucket_prefix(bucket) + key.encode())


def list_documents(
    view: View,
    collection: str,
    *,
    prefix: str = "",
    after: str | None = None,
    limit: int,
    bytes_max: int = PAGE_BYTES_MAX,
    show: Callable[[Listed], T],
    see: See | None = None,
) -> Generator[None, None, Page[T]]:
    """Return the documents whose ID begins with `prefix` and is greater than `after`, by ID in code point order.

    At most `limit` (1 or more), each as `show` converts it; those are passed over for which `see` returns None. Yields
    after every step; the view is read as it is at the first one. Raises `InvalidRequest("collection_not_found")`.
    """
    return (yield from _list(view, _documents(view, collection), prefix, after, limit, bytes_max, show, see))


def list_keys(
    view: View,
    bucket: str,
    *,
    prefix: str = "",
    after: str | None = None,
    limit: int,
    bytes_max: int = PAGE_BYTES_MAX,
    show: Callable[[Listed], T],
) -> Generator[None, None, Page[T]]:
    """Return the raw values of a bucket, as `list_documents`; a bucket that was never used is empty."""
    return (yield from _list(view, bucket_prefix(bucket), prefix, after, limit, bytes_max, show))


def list_collections(
    view: View,
    *,
    prefix: str = "",
    after: str | None = None,
    limit: int,
    show: Callable[[ListedCollection], T],
    see: Callable[[str], bool] | None = None,
) -> Generator[None, None, Page[T]]:
    """Return the collections whose name begins with `prefix`, as `list_documents`, without those that `see` refuses."""
    found = scan_collections(view, *_span(CATALOG, prefix, after))
    items = (
        (name, 0, ListedCollection(name, collection) if see is None or see(name) else None)
        for name, collection in found
    )
    return (yield from _page(items, limit, PAGE_BYTES_MAX, show))


def scan_documents(
    view: View,
    collection: str,
    *,
    lowest: str = "",
    after: str | None = None,
    end: str | None = None,
    marked: bool = False,
) -> Iterator[tuple[int, Listed]]:
    """Yield the documents with `lowest <= id < end` whose ID is greater than `after`, by ID, each with its stored size.

    `end` is None for no end. With `marked`, one that has expired is yielded too, as `EXPIRED`, for callers that count
    what they look at. The view is read as it is at the call. Raises `InvalidRequest("collection_not_found")`.
    """
    space = _documents(view, collection)
    lo, hi = _span(space, "", after)
    lo, hi = max(lo, space + lowest.encode()), hi if end is None else min(hi, space + end.encode())
    # BEFORE the scan begins: another read of a fixed view would end it.
    there = is_there(view)
    return _listed(view.scan(lo, hi), space, there, marked=marked)


def scan_keys(view: View, bucket: str) -> Iterator[tuple[int, Listed]]:
    """Yield the raw values of a bucket by key, each with its stored size. The view is read as it is at the call."""
    space = bucket_prefix(bucket)
    there = is_there(view)
    return _listed(view.scan(space, prefix_end(space)), space, there, marked=False)


def pick_documents(
    view: View, collection: str, ids: Sequence[str], *, marked: bool = False
) -> Iterator[tuple[int, Listed]]:
    """Yield those of the documents `ids`, sorted, that exist, each with its stored size; `marked` as `scan_documents`.

    The view is read as it is at the call. Raises `InvalidRequest("collection_not_found")`.
    """
    space = _documents(view, collection)
    there = is_there(view)
    return _listed(view.pick([space + name.encode() for name in ids]), space, there, marked=marked)


def _listed(
    found: Iterator[tuple[bytes, bytes]], space: bytes, there: Callable[[bytes], bool] | None, *, marked: bool
) -> Iterator[tuple[int, Listed]]:
    for key, record in found:
        if there is None or there(record):
            yield len(record), Listed(last_text(key, space), decode_stored(record))
        elif marked:
            yield len(record), Listed(last_text(key, space), EXPIRED)


class Fetch:
    """Reads single documents of one collection, all of the state as it is when this is made."""

    __slots__ = ("_found", "_space", "_there", "_wanted")

    def __init__(self, view: View, collection: str) -> None:
        """Raises `InvalidRequest("collection_not_found")`."""
        self._space = _documents(view, collection)
        self._wanted: list[bytes] = []
        self._there = is_there(view)
        self._found = view.pick(iter(self._next, None))  # None ends the keys

    def __call__(self, name: str) -> tuple[int, Listed]:
        """Return a document, which exists in that state, and its stored size; `EXPIRED` if it has.

        Raises `ManyDeleted`.
        """
        key = self._space + name.encode()
        self._wanted.append(key)
        for _, record in self._found:
            if self._there is not None and not self._there(record):
                return len(record), Listed(name, EXPIRED)
            return len(record), Listed(name, decode_stored(record))
        # It was deleted since, and so much behind it that the cursor cannot find it any more: see `View.pick`.
        raise ManyDeleted(lo=key, hi=prefix_end(self._space))

    def _next(self) -> bytes | None:
        return self._wanted.pop() if self._wanted else None


def _documents(view: View, collection: str) -> bytes:
    found = find_collection(view, collection)
    if found is None:
        raise InvalidRequest("collection_not_found", f"there is no collection {collection!r}")
    return documents_prefix(found.id)


def _get(view: View, key: bytes) -> Stored | None:
    record = view.get(key)
    if record is None:
        return None
    if record[:1] == EXPIRING:
        left = left_of(view, record)
        return replace(decode_stored(record), left_ms=left.milliseconds) if left.there else None
    return decode_stored(record)


def _list(
    view: View,
    space: bytes,
    prefix: str,
    after: str | None,
    limit: int,
    bytes_max: int,
    show: Callable[[Listed], T],
    see: See | None = None,
) -> Generator[None, None, Page[T]]:
    return (yield from _page(_scan_listed(view, space, *_span(space, prefix, after), see), limit, bytes_max, show))


def _scan_listed(
    view: View, space: bytes, lo: bytes, hi: bytes, see: See | None
) -> Iterator[tuple[str, int, Listed | None]]:
    there = is_there(view)
    for key, record in view.scan(lo, hi):
        name = last_text(key, space)
        gone = there is not None and not there(record)
        listed = None if gone else Listed(name, decode_stored(record))
        yield name, len(record), listed if see is None or listed is None else see(listed)


def _span(space: bytes, prefix: str, after: str | None) -> tuple[bytes, bytes]:
    """Return the range of the keys in `space` whose text begins with `prefix` and is above `after`."""
    begin = space + prefix.encode()
    # The maximum, because `after` may sort before all keys with the prefix.
    lo = begin if after is None else max(begin, successor(space + after.encode()))
    return lo, prefix_end(begin)


def _page(
    found: Iterator[tuple[str, int, L | None]], limit: int, bytes_max: int, show: Callable[[L], T]
) -> Generator[None, None, Page[T]]:
    """Take items of (name, size, item) up to one of the limits; the first one always fits. None has expired."""
    if limit < 1:
        raise InvalidRequest("bad_limit", f"limit is {limit}; allowed: 1 or more")
    items: list[T] = []
    last, total, passed = None, 0, 0
    step_items, step_bytes = STEP_ITEMS, STEP_BYTES
    for name, size, item in found:
        if item is None:
            passed += 1
            if passed % STEP_ITEMS == 0:
                yield
            continue
        total += size
        # Only when a further item exists: a full page that happens to be the last one has no `next_after`.
        if len(items) == limit or (items and total > bytes_max):
            return Page(tuple(items), last)
        items.append(show(item))
        last = name
        if len(items) >= step_items or total >= step_bytes:
            step_items, step_bytes = len(items) + STEP_ITEMS, total + STEP_BYTES
            yield
    return Page(tuple(items), None)
