"""Bulks: neighbours that name their documents by ID are sent together, what needs a query by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from collectionstore.asynchronous.context import AsyncContext, body_of
from collectionstore.asynchronous.handle import taken_id
from collectionstore.errors import BulkWriteError, CollectionStoreError, InvalidArgument, ProblemError, problem_error
from collectionstore.models.bulk import (
    BulkOperation,
    DeleteMany,
    DeleteOne,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
    check_replacement,
    check_update,
    named_id,
)
from collectionstore.models.json_text import encode
from collectionstore.models.results import BulkWriteResult
from collectionstore.wire.operations import Bulk

Writing: TypeAlias = Any
"""An `AsyncWriting`, which stands on this module."""

LINES_MAX = 1_000
ATOMIC_LINES_MAX = 128
LINES_BYTES_MAX = 1 << 20
"""Half of what a request may have."""
BENIGN = frozenset(("document_not_found", "precondition_failed"))
"""What is no failure of an update, a delete or a replacement, but means that nothing matched."""


class _Line:
    """One write that is a line of `:bulk`."""

    def __init__(self, at: int, operation: BulkOperation, line: bytes, document_id: str = "") -> None:
        self.at = at
        self.document_id = document_id
        self.operation = operation
        self.line = line


async def run_bulk(
    collection: Writing,
    context: AsyncContext,
    operations: Sequence[BulkOperation],
    *,
    ordered: bool,
    atomic: bool,
    timeout: object,
) -> BulkWriteResult:
    """Make the writes of a bulk. Raises BulkWriteError, InvalidArgument before anything was sent."""
    if not operations:
        raise InvalidArgument("a bulk has at least one operation")
    steps = [_step(collection, at, one) for at, one in enumerate(operations)]
    result = BulkWriteResult()
    errors: list[tuple[int, CollectionStoreError]] = []
    if atomic:
        lines = [one for one in steps if isinstance(one, _Line)]
        if len(lines) != len(steps) or len(lines) > ATOMIC_LINES_MAX:
            raise InvalidArgument(f"an atomic bulk has at most {ATOMIC_LINES_MAX} writes, each by its _id alone")
        body = b"\n".join(one.line for one in lines)
        answer = await context.call(Bulk(collection=collection.name, body=body, mode="atomic"), timeout)
        _count(result, lines, body_of(answer)["results"], errors)
        return result
    at = 0
    while at < len(steps):
        step = steps[at]
        if isinstance(step, _Line):
            batch = _batch(steps, at)
            at += await _send(collection.name, context, batch, result, errors, timeout, ordered=ordered)
        else:
            try:
                await _single(collection, step, result, at, timeout)
            except CollectionStoreError as error:
                errors.append((at, error))
            at += 1
        if ordered and errors:
            break
    if errors:
        raise BulkWriteError(errors, result)
    return result


def _batch(steps: Sequence[_Line | BulkOperation], at: int) -> list[_Line]:
    batch: list[_Line] = []
    size = 0
    for step in steps[at : at + LINES_MAX]:
        if not isinstance(step, _Line) or (batch and size + len(step.line) > LINES_BYTES_MAX):
            break
        size += len(step.line) + 1
        batch.append(step)
    return batch


async def _send(
    name: str,
    context: AsyncContext,
    batch: list[_Line],
    result: BulkWriteResult,
    errors: list[tuple[int, CollectionStoreError]],
    timeout: object,
    *,
    ordered: bool,
) -> int:
    """Send lines; return how many of them are done with: an ordered bulk also ends at a write that found nothing."""
    body = b"\n".join(one.line for one in batch)
    operation = Bulk(collection=name, body=body, mode="ordered" if ordered else "unordered")
    try:
        answer = await context.call(operation, timeout)
    except CollectionStoreError as error:
        if isinstance(error, ProblemError) and error.status < 409 and batch[0].at == 0:
            raise  # all of it is wrong, and nothing was done
        errors.extend((one.at, error) for one in batch)
        return len(batch)
    return _count(result, batch, body_of(answer)["results"], errors)


def _count(
    result: BulkWriteResult,
    batch: list[_Line],
    answers: Sequence[Mapping[str, Any]],
    errors: list[tuple[int, CollectionStoreError]],
) -> int:
    done = 0
    for line, said in zip(batch, answers, strict=True):
        if said["status"] == 424:
            break
        done += 1
        operation = line.operation
        if said["status"] >= 400:
            if said.get("code") in BENIGN and not isinstance(operation, InsertOne):
                continue
            taken = isinstance(operation, InsertOne) and said.get("code") == "precondition_failed"
            errors.append((line.at, taken_id(line.document_id) if taken else problem_error(said)))
            continue
        result.revision = max(result.revision, int(said["revision"]))
        made = said["status"] == 201
        if isinstance(operation, InsertOne):
            result.inserted_count += 1
            result.inserted_ids[line.at] = said["id"]
        elif isinstance(operation, DeleteOne | DeleteMany):
            result.deleted_count += int(said.get("deleted", True))
        elif made:
            result.upserted_count += 1
            result.upserted_ids[line.at] = said["id"]
        else:
            result.matched_count += 1
            result.modified_count += int(said.get("modified", True))
    return done


async def _single(
    collection: Writing, operation: BulkOperation, result: BulkWriteResult, at: int, timeout: object
) -> None:
    if isinstance(operation, DeleteOne | DeleteMany):
        if isinstance(operation, DeleteOne):
            gone = await collection.delete_one(operation.filter, timeout=timeout)
        else:
            gone = await collection.delete_many(operation.filter, timeout=timeout)
        result.deleted_count += gone.deleted_count
        result.revision = max(result.revision, gone.revision)
        return
    if isinstance(operation, ReplaceOne):
        made = await collection.replace_one(
            operation.filter, operation.replacement, operation.upsert, sort=operation.sort, timeout=timeout
        )
    elif isinstance(operation, UpdateOne):
        made = await collection.update_one(
            operation.filter,
            operation.update,
            operation.upsert,
            array_filters=operation.array_filters,
            sort=operation.sort,
            timeout=timeout,
        )
    elif isinstance(operation, UpdateMany):
        made = await collection.update_many(
            operation.filter,
            operation.update,
            operation.upsert,
            array_filters=operation.array_filters,
            timeout=timeout,
        )
    else:
        raise InvalidArgument(f"a {type(operation).__name__} is no operation of a bulk")
    result.matched_count += made.matched_count
    result.modified_count += made.modified_count
    result.revision = max(result.revision, made.revision)
    if made.upserted_id is not None:
        result.upserted_count += 1
        result.upserted_ids[at] = made.upserted_id


def _step(collection: Writing, at: int, operation: BulkOperation) -> _Line | BulkOperation:
    """Return the line that an operation is, or the operation if it needs a query. Raises InvalidArgument."""
    if isinstance(operation, InsertOne):
        document_id, text = collection.encoded(operation.document)
        if document_id is None:
            return _Line(at, operation, b'{"op":"insert","document":' + text + b"}")
        head = encode({"op": "put", "id": document_id, "if_exists": False})
        return _Line(at, operation, head[:-1] + b',"document":' + text + b"}", document_id)
    if not isinstance(operation, ReplaceOne | UpdateOne | UpdateMany | DeleteOne | DeleteMany):
        raise InvalidArgument(f"a {type(operation).__name__} is no operation of a bulk")
    by_id = named_id(operation.filter)
    if isinstance(operation, ReplaceOne):
        check_replacement(operation.replacement)
    elif isinstance(operation, UpdateOne | UpdateMany):
        check_update(operation.update)
    if by_id is None or by_id[1]:
        return operation
    if isinstance(operation, DeleteOne | DeleteMany):
        return _Line(at, operation, encode({"op": "delete", "id": by_id[0]}))
    if isinstance(operation, ReplaceOne):
        document_id, text = collection.encoded(operation.replacement)
        if document_id not in (None, by_id[0]):
            raise InvalidArgument("a replacement has the _id of the document that it replaces, or none")
        head = encode({"op": "put", "id": by_id[0], **({} if operation.upsert else {"if_exists": True})})
        return _Line(at, operation, head[:-1] + b',"document":' + text + b"}")
    line: dict[str, Any] = {"op": "update", "id": by_id[0], "update": operation.update}
    if operation.upsert:
        line["upsert"] = True
    if operation.array_filters:
        line["array_filters"] = operation.array_filters
    return _Line(at, operation, encode(line))
