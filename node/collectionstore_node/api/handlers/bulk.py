"""Many writes of one collection in one request: a line of JSON for each (NDJSON)."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Annotated, Any, Final, TypeAlias

import msgspec
import orjson
from aiohttp import hdrs

from collectionstore_node.api.handlers.changes import checked, update_refusal
from collectionstore_node.api.handlers.transaction_bodies import FIELDS, update_of
from collectionstore_node.api.handlers.transactions import transaction_refusal
from collectionstore_node.api.handlers.write_answers import item_warning, written_by
from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import REPLAYED, idempotency_key
from collectionstore_node.api.http.json_bodies import decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.lives import life_of
from collectionstore_node.api.http.names import check_key, collection_name
from collectionstore_node.api.http.options import MODES, mode_of
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem, problem_of, render
from collectionstore_node.errors import InvalidRequest, NodeError, Overloaded
from collectionstore_node.service.limits import RESERVED_NAMES, has_reserved_name
from collectionstore_node.service.operations import (
    ANY,
    AnyWrite,
    Delete,
    DocumentRef,
    Expiring,
    Insert,
    Precondition,
    Put,
    Transaction,
    TransactionStep,
    Update,
    UpdateForm,
)
from collectionstore_node.service.results import Code, Item, Outcome
from collectionstore_node.service.update_checks import Program, check_patterns
from collectionstore_node.service.updates import BULK_ITEMS_MAX, derived_key

TYPES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")
BYTES_BETWEEN_PAUSES: Final = 32 << 10
LINE_BYTES: Final = 2 << 10
"""How much is checked in one turn of the event loop, each line counted as this more."""


class _Conditional(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """A write of a document with an ID, under conditions."""

    id: str
    if_revision: Annotated[int, msgspec.Meta(ge=1)] | None = None
    if_exists: bool | None = None
    when: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class _Living(_Conditional, frozen=True, kw_only=True):
    """One of a document that may expire."""

    ttl: str | None = None
    lease: int | None = None


class PutItem(_Living, frozen=True, kw_only=True, tag="put"):
    """Create or replace a document."""

    document: msgspec.Raw


class DeleteItem(_Conditional, frozen=True, kw_only=True, tag="delete"):
    """Delete a document."""


class UpdateItem(_Living, frozen=True, kw_only=True, tag="update"):
    """Change a document, by one of the three forms."""

    update: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    merge_patch: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    json_patch: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    array_filters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    upsert: bool = False


class InsertItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", tag="insert"):
    """Create a document under an ID chosen by the store."""

    document: msgspec.Raw
    ttl: str | None = None
    lease: int | None = None


AnyItem: TypeAlias = PutItem | DeleteItem | UpdateItem | InsertItem


class _Received(msgspec.Struct, frozen=True):
    """A line of the body, decoded."""

    line: AnyItem


class _Line(msgspec.Struct, frozen=True):
    """A line of the body, checked."""

    action: AnyWrite
    id: str
    program: Program | None = None

    @property
    def write(self) -> AnyWrite:
        """The action without what it says of expiry."""
        action = self.action
        return action.write if isinstance(action, Expiring) else action


async def post(call: Call) -> Answer:
    """Make the writes of the body: all at one revision, or one after the other, or in any order."""
    collection = collection_name(call.arguments[0])
    headers, mode = call.request.headers, mode_of(call.options, MODES, "ordered")
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "each line of a bulk has its own conditions")
    key = idempotency_key(headers)
    kind = (headers.get(hdrs.CONTENT_TYPE) or "none").partition(";")[0].strip().lower()
    if kind not in TYPES:
        raise Problem("unsupported_content_type", f"Content-Type must be {TYPES[0]}: a JSON object in each line")
    store = call.api.store
    body = await call.body(call.api.limits.transaction_bytes_max)
    items_max = store.limits.transaction_items_max if mode == "atomic" else BULK_ITEMS_MAX
    texts = [line for line in body.split(b"\n") if line and not line.isspace()]
    if not 0 < len(texts) <= items_max:
        raise Problem("invalid_body", f"the bulk has {len(texts)} lines; allowed with mode={mode}: 1 to {items_max}")
    lines = await _checked_lines(call, collection, texts, key)
    if mode == "atomic":
        return await _atomic(call, lines, key)
    results = await store.updates.bulk(
        [line.action for line in lines], ordered=mode == "ordered", key=key, timeout_s=call.timeout_s
    )
    return _answer(call, lines, results, safe_to_repeat=key is not None)


async def _checked_lines(call: Call, collection: str, texts: list[bytes], key: str | None) -> list[_Line]:
    """Return all lines, checked, within the time of the request, of which the rest is left in `call.timeout_s`."""
    deadline = perf_counter() + call.timeout_s
    lines: list[_Line] = []
    work = 0
    for number, text in enumerate(texts):
        work += LINE_BYTES + len(text)
        if work > BYTES_BETWEEN_PAUSES:
            work = 0
            await asyncio.sleep(0)
        call.timeout_s = deadline - perf_counter()
        if call.timeout_s <= 0:
            raise Overloaded(f"{number} lines of the bulk were checked when its time was up; nothing was changed")
        lines.append(await _line(call, collection, text, number, key))
    return lines


async def _line(call: Call, collection: str, text: bytes, number: int, key: str | None) -> _Line:
    """Return a checked line. Raises `Problem` that says in which line."""
    rules = Rules(call.api.limits.depth_max + 1, names_depth=0)
    try:
        compact = await call.compact(text, rules)
        item = decode(b'{"line":%b}' % compact, _Received).line
        line = await _action(call, collection, item, None if key is None else derived_key(key, number))
        return _living(line, item)
    except Problem as problem:
        raise _at(problem, number) from None
    except InvalidRequest as error:
        raise _at(problem_of(error, safe_to_repeat=True), number) from None


def _living(line: _Line, item: AnyItem) -> _Line:
    life = None if isinstance(item, DeleteItem) else life_of(item.ttl, item.lease, "")
    action = line.action
    if life is None or isinstance(action, Delete | Expiring):
        return line
    return msgspec.structs.replace(line, action=life.of(action) if isinstance(action, Update) else life.of_new(action))


def _at(problem: Problem, number: int) -> Problem:
    # The line is the whole of what was decoded, and has one line.
    detail = problem.detail.removeprefix("line 1 ").replace(" - at '$.line'", "").replace("'$.line.", "'$.")
    problem.detail = f"line {number + 1}: {detail}"
    problem.members["line"] = number + 1
    return problem


async def _action(call: Call, collection: str, item: AnyItem, key: str | None) -> _Line:
    if isinstance(item, InsertItem):
        made, put = call.api.store.insertion(collection, _document(item.document), key)
        return _Line(put, made)
    ref = DocumentRef(collection, check_key(item.id, call.api.limits.key_bytes_max, "document id"))
    precondition = ANY
    if item.if_revision is not None or item.if_exists is not None:
        revisions = None if item.if_revision is None else (item.if_revision,)
        precondition = Precondition(item.if_exists, revisions)
    when = bytes(item.when)
    if isinstance(item, UpdateItem):
        update = update_of(item, ref, "line", precondition)
        pointers = (f"/{FIELDS[update.form]}", "/when", "/array_filters")
        return _Line(update, item.id, await checked(call, update, pointers))
    if isinstance(item, PutItem):
        document = _document(item.document)
        if not when:
            return _Line(Put(ref, document, precondition), item.id)
        update = Update(ref, UpdateForm.REPLACE, document, when=when, precondition=precondition)
    elif not when:
        return _Line(Delete(ref, precondition), item.id)
    else:
        update = Update(ref, UpdateForm.DELETE, when=when, precondition=precondition)
    await checked(call, update)
    return _Line(update, item.id)


def _document(text: msgspec.Raw) -> bytes:
    document = bytes(text)
    if document[:1] != b"{":
        raise Problem("invalid_body", "a document is a JSON object")
    if has_reserved_name(document):
        raise Problem("reserved_field", RESERVED_NAMES)
    return document


async def _atomic(call: Call, lines: list[_Line], key: str | None) -> Answer:
    transaction = Transaction(then=tuple(_operation(line, number) for number, line in enumerate(lines, 1)))
    check_patterns(line.write for line in lines if isinstance(line.write, Update))
    outcome = await call.api.store.transact(transaction, key=key, timeout_s=call.timeout_s)
    if outcome.code is not Code.OK:
        problem = transaction_refusal(outcome, call.api.store, transaction)
        problem.members.pop("operation", None)
        if outcome.failed_operation is not None:
            problem.detail = f"line {outcome.failed_operation + 1}: {problem.detail}; nothing was changed"
            problem.members["line"] = outcome.failed_operation + 1
        raise problem
    results = [_done(line, item, outcome.revision) for line, item in zip(lines, outcome.items, strict=True)]
    lines_of_head = b"%bX-Revision: %d\r\n" % (JSON, outcome.revision)
    body = {"errors": 0, "results": results, "revision": outcome.revision}
    return Answer(200, lines_of_head + (REPLAYED if outcome.replayed else b""), orjson.dumps(body))


def _operation(line: _Line, number: int) -> TransactionStep:
    if isinstance(line.action, Insert):
        raise Problem(
            "id_not_allowed",
            f"line {number}: IDs of a sequence are not given in a transaction; use mode=ordered or mode=unordered",
            line=number,
        )
    return line.action


def _answer(
    call: Call, lines: list[_Line], results: list[Outcome | NodeError | None], *, safe_to_repeat: bool
) -> Answer:
    """Return the results by line. 207 (RFC 4918) unless all succeeded: never a plain 200 over a failure."""
    shown: list[dict[str, Any]] = []
    errors = revision = 0
    for line, result in zip(lines, results, strict=True):
        if isinstance(result, Outcome):
            revision = max(revision, result.revision)
            if result.code is Code.OK:
                shown.append(_succeeded(line, result))
                continue
            problem = update_refusal(result, line.program, written_by(call.api.store, line.write))
        elif result is None:
            problem = Problem("not_attempted", "a line before it failed, and the bulk is ordered")
        else:
            problem = problem_of(result, safe_to_repeat=safe_to_repeat)
        errors += 1
        request_id = ""
        rendered = orjson.loads(render(problem, request_id=request_id, revision=call.api.store.revision).content)
        shown.append(
            ({"id": line.id} if line.id else {})
            | {name: rendered[name] for name in rendered if name not in _OF_ONE_REQUEST}
        )
    revision = revision or call.api.store.revision
    body = {"errors": errors, "results": shown, "revision": revision}
    return Answer(207 if errors else 200, b"%bX-Revision: %d\r\n" % (JSON, revision), orjson.dumps(body))


_OF_ONE_REQUEST: Final = ("instance", "request_id")


def _succeeded(line: _Line, outcome: Outcome) -> dict[str, Any]:
    if outcome.items:
        found = _done(line, outcome.items[0], outcome.revision)
    elif isinstance(line.write, Put):
        found = {"status": 201 if outcome.created else 200, "id": line.id, "revision": outcome.revision}
    else:
        found = {"status": 200, "id": line.id, "revision": outcome.revision, "deleted": True}
    return {**found, "replayed": True} if outcome.replayed else found


def _done(line: _Line, item: Item, revision: int) -> dict[str, Any]:
    """Return the result of a line that was carried out at `revision`."""
    if isinstance(line.action, Insert):
        made = (item.value or b"").decode()
        return {"status": 201, "id": made, "revision": item.revision} | item_warning(item)
    if not item.revision:
        return {"status": 200, "id": line.id, "revision": revision, "deleted": item.previous_revision != 0}
    found: dict[str, Any] = {"status": 201 if item.created else 200, "id": line.id, "revision": item.revision}
    if isinstance(line.write, Update):
        found["modified"] = item.revision != item.previous_revision
    return found | item_warning(item)
