"""The operations of a stream, as `/api/v1/stream` takes them in msgpack: docs/reference/stream.md.

A field that is not set is left out. `tag` is the stream's and set when an operation is sent. Bodies are JSON text.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

Revisions: TypeAlias = int | list[int]
Form: TypeAlias = Literal["operators", "merge_patch", "json_patch"]
Consistency: TypeAlias = Literal["linearizable", "stale"]


class Operation(msgspec.Struct, kw_only=True, omit_defaults=True, tag_field="op", gc=False):
    """What all operations have."""

    tag: int = -1
    timeout_ms: int = 0
    traceparent: str | UnsetType = UNSET
    request_id: str | UnsetType = UNSET


class Write(Operation, kw_only=True):
    """An operation that changes something; with a key it may be repeated."""

    idempotency_key: str | UnsetType = UNSET


class ConditionalWrite(Write, kw_only=True):
    """A write with a precondition."""

    if_revision: Revisions | UnsetType = UNSET
    if_exists: bool | UnsetType = UNSET


class Read(Operation, kw_only=True):
    """An operation that changes nothing."""

    consistency: Consistency | UnsetType = UNSET
    max_staleness_ms: int | UnsetType = UNSET
    min_revision: int | UnsetType = UNSET


class Page(Read, kw_only=True):
    """A page of a list."""

    prefix: str | UnsetType = UNSET
    limit: int | UnsetType = UNSET
    cursor: str | UnsetType = UNSET


class PutDocument(ConditionalWrite, kw_only=True, tag="put_document"):
    """Create or replace a document."""

    collection: str
    id: str
    document: bytes


class InsertDocument(Write, kw_only=True, tag="insert_document"):
    """Create a document with an ID of the store."""

    collection: str
    document: bytes


class GetDocument(Read, kw_only=True, tag="get_document"):
    """Read a document."""

    collection: str
    id: str
    unless_revision: Revisions | UnsetType = UNSET


class DeleteDocument(ConditionalWrite, kw_only=True, tag="delete_document"):
    """Delete a document."""

    collection: str
    id: str


class UpdateDocument(ConditionalWrite, kw_only=True, tag="update_document"):
    """Change a document where it is."""

    collection: str
    id: str
    body: bytes
    form: Form = "operators"
    when: bytes = b""
    array_filters: bytes = b""
    upsert: bool = False
    image: Literal["before", "after"] | UnsetType = UNSET


class PutValue(ConditionalWrite, kw_only=True, tag="put_value"):
    """Create or replace a value."""

    bucket: str
    key: str
    value: bytes
    content_type: str | UnsetType = UNSET


class GetValue(Read, kw_only=True, tag="get_value"):
    """Read a value."""

    bucket: str
    key: str
    unless_revision: Revisions | UnsetType = UNSET


class DeleteValue(ConditionalWrite, kw_only=True, tag="delete_value"):
    """Delete a value."""

    bucket: str
    key: str


class ListKeys(Page, kw_only=True, tag="list_keys"):
    """List keys of a bucket."""

    bucket: str
    values: bool = False


class GetCollection(Read, kw_only=True, tag="get_collection"):
    """Read a collection."""

    collection: str


class DropCollection(Write, kw_only=True, tag="drop_collection"):
    """Drop a collection."""

    collection: str


class ListCollections(Page, kw_only=True, tag="list_collections"):
    """List collections."""


class Query(Read, kw_only=True):
    """A read that has the body of a request."""

    collection: str
    body: bytes


class Find(Query, kw_only=True, tag="find"):
    """Find documents."""


class Count(Query, kw_only=True, tag="count"):
    """Count documents."""


class Distinct(Query, kw_only=True, tag="distinct"):
    """Collect the values of a field."""


class Aggregate(Query, kw_only=True, tag="aggregate"):
    """Run a pipeline."""


class BodyWrite(Write, kw_only=True):
    """A write that has the body of a request."""

    collection: str
    body: bytes


class UpdateFound(BodyWrite, kw_only=True, tag="update"):
    """Update what a filter finds."""


class DeleteFound(BodyWrite, kw_only=True, tag="delete"):
    """Delete what a filter finds."""


class FindAndModify(BodyWrite, kw_only=True, tag="find_and_modify"):
    """Change a document and answer it."""


class Bulk(BodyWrite, kw_only=True, tag="bulk"):
    """Many writes, a line for each."""

    mode: Literal["ordered", "unordered", "atomic"] = "ordered"


class CreateIndex(BodyWrite, kw_only=True, tag="create_index"):
    """Create an index."""


class ListIndexes(Read, kw_only=True, tag="list_indexes"):
    """List indexes."""

    collection: str


class DropIndex(Write, kw_only=True, tag="drop_index"):
    """Drop an index."""

    collection: str
    name: str


class Watch(Read, kw_only=True, tag="watch"):
    """Begin a watch; its events follow."""

    watch: bytes
    credit: int = 1_000


class GrantWatch(Operation, kw_only=True, tag="grant_watch"):
    """Grant a watch more events."""

    watch: int
    credit: int


class Unwatch(Operation, kw_only=True, tag="unwatch"):
    """End a watch."""

    watch: int


def name_of(operation: Operation) -> str:
    """Return the value of `op`."""
    return str(operation.__struct_config__.tag)


_PAYLOADS = ("document", "value", "body")


def payload_bytes(operation: Operation) -> int:
    """Return how much of a stream's credit of bytes an operation takes."""
    for name in _PAYLOADS:
        payload = getattr(operation, name, None)
        if payload is not None:
            return len(payload)
    return 0
