"""What a stream carries: operations of the client; answers and events of the server.

An operation has the fields of the REST request that does the same, under the names of the transaction's body
(`if_revision`, `if_exists`). A field that its operation does not know is an error. `op` should come first: a decoder
that has not met it yet has to look ahead for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec

from collectionstore_node.api.stream.settings import BESIDE_BYTES_MAX, LABEL_MAX, WATCH_CREDIT_DEFAULT
from collectionstore_node.service import Consistency
from collectionstore_node.service.operations import REVISIONS_MAX
from collectionstore_node.service.updates import BULK_ITEMS_MAX

Revisions: TypeAlias = int | Annotated[list[int], msgspec.Meta(max_length=REVISIONS_MAX)]
"""Bounded here, so that a decoder refuses a long list before it is built."""

Label: TypeAlias = Annotated[str, msgspec.Meta(max_length=LABEL_MAX)]
"""What comes back with the answer, or in a trace."""


Form: TypeAlias = Literal["operators", "merge_patch", "json_patch"]
"""What the body of an update is; a request says it by its Content-Type."""


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", gc=False):
    """What all operations have."""

    tag: int
    """The client's number of the operation, unique among those that are not answered."""
    timeout_ms: int | None = None
    """Budget of the operation; its default is that of REST."""
    traceparent: Label | None = None
    """W3C trace context: the operation's span becomes its child."""
    request_id: Label | None = None
    """Appears in problems and log lines."""


class Write(Operation, frozen=True, kw_only=True):
    """An operation that changes something."""

    idempotency_key: str | None = None


class ConditionalWrite(Write, frozen=True, kw_only=True):
    """A write with a precondition: the target's current revision is one of `if_revision`, or that it exists or not."""

    if_revision: Revisions | None = None
    if_exists: bool | None = None


class Read(Operation, frozen=True, kw_only=True):
    """An operation that changes nothing."""

    consistency: Consistency = Consistency.LINEARIZABLE
    max_staleness_ms: int | None = None
    """With `stale`: how old the state may be at most."""
    min_revision: int = 0
    """The read waits until the member has applied this revision."""


class ConditionalRead(Read, frozen=True, kw_only=True):
    """A read with a condition: 412 unless the revision is one of `if_revision`, 304 if it is `unless_revision`."""

    if_revision: Revisions | None = None
    unless_revision: Revisions | None = None


class Page(Read, frozen=True, kw_only=True):
    """A page of a list."""

    prefix: str = ""
    limit: int | None = None
    cursor: str | None = None


# Documents


class PutDocument(ConditionalWrite, frozen=True, kw_only=True, tag="put_document"):
    """PUT /api/v1/collections/{collection}/documents/{id}."""

    collection: str
    id: str
    document: bytes
    """JSON text."""


class JsonPutDocument(ConditionalWrite, frozen=True, kw_only=True, tag="put_document"):
    """The same in JSON, where the document is a value of the operation."""

    collection: str
    id: str
    document: msgspec.Raw


class InsertDocument(Write, frozen=True, kw_only=True, tag="insert_document"):
    """POST /api/v1/collections/{collection}/documents."""

    collection: str
    document: bytes


class JsonInsertDocument(Write, frozen=True, kw_only=True, tag="insert_document"):
    """The same in JSON."""

    collection: str
    document: msgspec.Raw


class GetDocument(ConditionalRead, frozen=True, kw_only=True, tag="get_document"):
    """GET /api/v1/collections/{collection}/documents/{id}."""

    collection: str
    id: str


class DeleteDocument(ConditionalWrite, frozen=True, kw_only=True, tag="delete_document"):
    """DELETE /api/v1/collections/{collection}/documents/{id}."""

    collection: str
    id: str


class ListDocuments(Page, frozen=True, kw_only=True, tag="list_documents"):
    """GET /api/v1/collections/{collection}/documents."""

    collection: str


# Raw values


class PutValue(ConditionalWrite, frozen=True, kw_only=True, tag="put_value"):
    """PUT /api/v1/kv/{bucket}/{key}; in JSON, `value` is base64."""

    bucket: str
    key: str
    value: bytes
    content_type: str | None = None


class GetValue(ConditionalRead, frozen=True, kw_only=True, tag="get_value"):
    """GET /api/v1/kv/{bucket}/{key}."""

    bucket: str
    key: str


class DeleteValue(ConditionalWrite, frozen=True, kw_only=True, tag="delete_value"):
    """DELETE /api/v1/kv/{bucket}/{key}."""

    bucket: str
    key: str


class ListKeys(Page, frozen=True, kw_only=True, tag="list_keys"):
    """GET /api/v1/kv/{bucket}."""

    bucket: str
    values: bool = False


# Collections and transactions


class CreateCollection(Write, frozen=True, kw_only=True, tag="create_collection"):
    """PUT /api/v1/collections/{collection}; `if_exists` may be false: If-None-Match: *."""

    collection: str
    if_exists: bool | None = None


class GetCollection(Read, frozen=True, kw_only=True, tag="get_collection"):
    """GET /api/v1/collections/{collection}."""

    collection: str


class DropCollection(Write, frozen=True, kw_only=True, tag="drop_collection"):
    """DELETE /api/v1/collections/{collection}."""

    collection: str


class ListCollections(Page, frozen=True, kw_only=True, tag="list_collections"):
    """GET /api/v1/collections."""


class Transaction(Write, frozen=True, kw_only=True, tag="transaction"):
    """POST /api/v1/transactions."""

    transaction: bytes
    """The body of that request: JSON text."""


class JsonTransaction(Write, frozen=True, kw_only=True, tag="transaction"):
    """The same in JSON, where the body is a value of the operation."""

    transaction: msgspec.Raw


# What has the body of a request: as JSON text in msgpack, as a value of the operation in JSON


class Find(Read, frozen=True, kw_only=True, tag="find"):
    """POST /api/v1/collections/{collection}:find."""

    collection: str
    body: bytes


class JsonFind(Read, frozen=True, kw_only=True, tag="find"):
    """The same in JSON."""

    collection: str
    body: msgspec.Raw


class Count(Read, frozen=True, kw_only=True, tag="count"):
    """POST /api/v1/collections/{collection}:count."""

    collection: str
    body: bytes


class JsonCount(Read, frozen=True, kw_only=True, tag="count"):
    """The same in JSON."""

    collection: str
    body: msgspec.Raw


class Distinct(Read, frozen=True, kw_only=True, tag="distinct"):
    """POST /api/v1/collections/{collection}:distinct."""

    collection: str
    body: bytes


class JsonDistinct(Read, frozen=True, kw_only=True, tag="distinct"):
    """The same in JSON."""

    collection: str
    body: msgspec.Raw


class Aggregate(Read, frozen=True, kw_only=True, tag="aggregate"):
    """POST /api/v1/collections/{collection}:aggregate."""

    collection: str
    body: bytes


class JsonAggregate(Read, frozen=True, kw_only=True, tag="aggregate"):
    """The same in JSON."""

    collection: str
    body: msgspec.Raw


class UpdateFound(Write, frozen=True, kw_only=True, tag="update"):
    """POST /api/v1/collections/{collection}:update."""

    collection: str
    body: bytes


class JsonUpdateFound(Write, frozen=True, kw_only=True, tag="update"):
    """The same in JSON."""

    collection: str
    body: msgspec.Raw


class DeleteFound(Write, frozen=True, kw_only=True, tag="delete"):
    """POST /api/v1/collections/{collection}:delete."""

    collection: str
    body: bytes


class JsonDeleteFound(Write, frozen=True, kw_only=True, tag="delete"):
    """The same in JSON."""

    collection: str
    body: msgspec.Raw


class FindAndModify(Write, frozen=True, kw_only=True, tag="find_and_modify"):
    """POST /api/v1/collections/{collection}:findAndModify."""

    collection: str
    body: bytes


class JsonFindAndModify(Write, frozen=True, kw_only=True, tag="find_and_modify"):
    """The same in JSON."""

    collection: str
    body: msgspec.Raw


class CreateIndex(Write, frozen=True, kw_only=True, tag="create_index"):
    """POST /api/v1/collections/{collection}/indexes."""

    collection: str
    body: bytes


class JsonCreateIndex(Write, frozen=True, kw_only=True, tag="create_index"):
    """The same in JSON."""

    collection: str
    body: msgspec.Raw


class UpdateDocument(ConditionalWrite, frozen=True, kw_only=True, tag="update_document"):
    """PATCH /api/v1/collections/{collection}/documents/{id}."""

    collection: str
    id: str
    body: bytes
    form: Form = "operators"
    when: bytes = b""
    array_filters: bytes = b""
    upsert: bool = False
    image: Literal["before", "after"] | None = None
    """The parameter `return`."""


class JsonUpdateDocument(ConditionalWrite, frozen=True, kw_only=True, tag="update_document"):
    """The same in JSON."""

    collection: str
    id: str
    body: msgspec.Raw
    form: Form = "operators"
    when: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    array_filters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    upsert: bool = False
    image: Literal["before", "after"] | None = None


class Bulk(Write, frozen=True, kw_only=True, tag="bulk"):
    """POST /api/v1/collections/{collection}:bulk; a line of JSON for each write."""

    collection: str
    body: bytes
    mode: str | None = None


class JsonBulk(Write, frozen=True, kw_only=True, tag="bulk"):
    """The same in JSON, where the writes are a list."""

    collection: str
    body: Annotated[list[msgspec.Raw], msgspec.Meta(max_length=BULK_ITEMS_MAX)]
    mode: str | None = None


class ListIndexes(Read, frozen=True, kw_only=True, tag="list_indexes"):
    """GET /api/v1/collections/{collection}/indexes."""

    collection: str


class GetIndex(Read, frozen=True, kw_only=True, tag="get_index"):
    """GET /api/v1/collections/{collection}/indexes/{name}."""

    collection: str
    name: str


class DropIndex(Write, frozen=True, kw_only=True, tag="drop_index"):
    """DELETE /api/v1/collections/{collection}/indexes/{name}."""

    collection: str
    name: str


# Watches


class Watch(Read, frozen=True, kw_only=True, tag="watch"):
    """POST /api/v1/:watch, without an end: events follow the answer, known by the tag of this operation."""

    watch: bytes
    """The body of that request, with `collection`, `bucket` or `consumer`: JSON text."""
    credit: int = WATCH_CREDIT_DEFAULT
    """How many events may be sent before more are granted."""


class JsonWatch(Read, frozen=True, kw_only=True, tag="watch"):
    """The same in JSON, where the body is a value of the operation."""

    watch: msgspec.Raw
    credit: int = WATCH_CREDIT_DEFAULT


class GrantWatch(Operation, frozen=True, kw_only=True, tag="grant_watch"):
    """Grant a watch more events."""

    watch: int
    credit: int


class Unwatch(Operation, frozen=True, kw_only=True, tag="unwatch"):
    """End a watch."""

    watch: int


_COMMON: TypeAlias = (
    GetDocument
    | DeleteDocument
    | ListDocuments
    | PutValue
    | GetValue
    | DeleteValue
    | ListKeys
    | CreateCollection
    | GetCollection
    | DropCollection
    | ListCollections
    | ListIndexes
    | GetIndex
    | DropIndex
    | GrantWatch
    | Unwatch
)
BinaryBody: TypeAlias = (
    Find
    | Count
    | Distinct
    | Aggregate
    | UpdateFound
    | DeleteFound
    | FindAndModify
    | CreateIndex
    | UpdateDocument
    | Bulk
)
JsonBody: TypeAlias = (
    JsonFind
    | JsonCount
    | JsonDistinct
    | JsonAggregate
    | JsonUpdateFound
    | JsonDeleteFound
    | JsonFindAndModify
    | JsonCreateIndex
    | JsonUpdateDocument
)
BinaryOperation: TypeAlias = PutDocument | InsertDocument | Transaction | Watch | BinaryBody | _COMMON
JsonOperation: TypeAlias = (
    JsonPutDocument | JsonInsertDocument | JsonTransaction | JsonWatch | JsonBody | JsonBulk | _COMMON
)
AnyOperation: TypeAlias = BinaryOperation | JsonOperation


class Tagged(msgspec.Struct, frozen=True):
    """As much of an operation as it takes to answer it."""

    tag: int


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """An operation that has a tag, and is otherwise not what it should be."""

    tag: int
    detail: str
    request_id: str | None = None
    traceparent: str | None = None
    timeout_ms: int | None = None


UNKNOWN: Final = "unknown"
"""The kind of an operation that could not be decoded, in metrics."""

KINDS: Final[dict[type, str]] = {
    **{kind: str(kind.__struct_config__.tag) for kind in get_args(BinaryOperation | JsonOperation)},
    Malformed: UNKNOWN,
}
"""The value of `op` by type."""


def payload_bytes(operation: AnyOperation | Malformed) -> int:
    """Return how many bytes an operation takes of its stream's credit: those of its document, value or transaction."""
    size = _SIZES.get(type(operation))
    return 0 if size is None else size(operation)


def detached(operation: AnyOperation, line_bytes: int) -> AnyOperation:
    """Return an operation that does not keep the line of JSON, of `line_bytes`, that it was decoded from.

    A `Raw` shows its part of the line, and so keeps all of it, white space included, while only the part is counted.
    """
    if line_bytes - payload_bytes(operation) <= BESIDE_BYTES_MAX:
        return operation
    if isinstance(operation, JsonPutDocument | JsonInsertDocument):
        return msgspec.structs.replace(operation, document=operation.document.copy())
    if isinstance(operation, JsonTransaction):
        return msgspec.structs.replace(operation, transaction=operation.transaction.copy())
    if isinstance(operation, JsonUpdateDocument):
        return msgspec.structs.replace(
            operation,
            body=operation.body.copy(),
            when=operation.when.copy(),
            array_filters=operation.array_filters.copy(),
        )
    if isinstance(operation, JsonBulk):
        return msgspec.structs.replace(operation, body=[one.copy() for one in operation.body])
    if isinstance(operation, JsonBody):
        return msgspec.structs.replace(operation, body=operation.body.copy())
    if isinstance(operation, JsonWatch):
        return msgspec.structs.replace(operation, watch=operation.watch.copy())
    return operation


def _update_bytes(one: UpdateDocument | JsonUpdateDocument) -> int:
    return len(one.body) + len(one.when) + len(one.array_filters)


_SIZES: Final[dict[type, Callable[[Any], int]]] = {
    PutDocument: lambda one: len(one.document),
    JsonPutDocument: lambda one: len(one.document),
    InsertDocument: lambda one: len(one.document),
    JsonInsertDocument: lambda one: len(one.document),
    PutValue: lambda one: len(one.value),
    Transaction: lambda one: len(one.transaction),
    JsonTransaction: lambda one: len(one.transaction),
    **{kind: lambda one: len(one.body) for kind in get_args(BinaryBody | JsonBody)},
    JsonBulk: lambda one: sum(map(len, one.body)),
    UpdateDocument: _update_bytes,
    JsonUpdateDocument: _update_bytes,
    Watch: lambda one: len(one.watch),
    JsonWatch: lambda one: len(one.watch),
}


# What the server sends


class Answer(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The answer to the operation with this tag: what the REST response would say."""

    tag: int
    status: int
    revision: int = 0
    """X-Revision."""
    etag: int = 0
    """ETag: the revision of the target's last write; left out of answers to writes, where it is `revision`."""
    replayed: bool = False
    """Idempotency-Replayed."""
    staleness_ms: int | None = None
    """X-Staleness-Ms, of a stale read."""
    id: str | None = None
    """Of an inserted document."""
    schema_warning: bool = False
    """X-Schema-Warning."""
    body: bytes | msgspec.Raw | None = None
    """JSON: the document, the page, the results of a transaction, the problem. As text in msgpack."""
    value: bytes | None = None
    """A raw value; base64 in JSON."""
    content_type: str | None = None
    """Of the raw value."""


class Limits(msgspec.Struct, frozen=True):
    """What a client may send; bytes are those of `settings` and of the store."""

    message_bytes: int
    operations: int
    operation_bytes: int
    document_bytes: int
    value_bytes: int
    transaction_bytes: int
    timeout_ms: int


class Hello(msgspec.Struct, frozen=True, tag_field="event", tag="hello"):
    """The first item that a server sends."""

    protocol: int
    cluster_id: str
    node_id: str
    node: str
    version: str
    limits: Limits
    ping_s: float


class Draining(msgspec.Struct, frozen=True, tag_field="event", tag="draining"):
    """The node stops. The first `accepted` operations of this stream are answered; all others were not executed."""

    accepted: int


class Changes(msgspec.Struct, omit_defaults=True, kw_only=True, tag_field="event", tag="changes", gc=False):
    """Events of the watch that the operation with this tag has opened; `token` is that of the place behind them."""

    watch: int
    events: list[bytes | msgspec.Raw]
    """JSON objects; as text in msgpack."""
    token: str
    ended: bool = False
    """Whether the last of them ends the watch."""


Item: TypeAlias = Answer | Hello | Draining | Changes
