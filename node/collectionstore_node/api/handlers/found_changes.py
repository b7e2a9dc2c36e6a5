"""Updates and deletes of what a filter finds: one document, many, or one that is answered."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.api.handlers.changes import checked, image_text, in_thread, update_refusal
from collectionstore_node.api.handlers.write_answers import outcome_lines, written_by
from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.cursors import decode_progress, encode_progress
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.json_bodies import decode
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.names import collection_name
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem, problem_of
from collectionstore_node.errors import InvalidPart
from collectionstore_node.service.limits import RESERVED_NAMES, UPDATE_BYTES_MAX, has_reserved_name
from collectionstore_node.service.operations import ANY, DocumentRef, Find, Image, Update, UpdateForm
from collectionstore_node.service.queries import parse_find
from collectionstore_node.service.results import Code
from collectionstore_node.service.update_checks import Program
from collectionstore_node.service.updates import MANY_DOCUMENTS, Changed, Changes, Place, Progress

_BODIES: Final = {
    "update": UpdateForm.OPERATORS,
    "merge_patch": UpdateForm.MERGE_PATCH,
    "json_patch": UpdateForm.JSON_PATCH,
    "replacement": UpdateForm.REPLACE,
}


class Deletion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a delete."""

    filter: msgspec.Raw
    """Required: what is left out by mistake must not be every document."""
    sort: dict[str, Any] | None = None
    many: bool = False
    limit: int | None = None
    cursor: str | None = None


class Modification(Deletion, frozen=True, kw_only=True):
    """The body of an update: one of its forms."""

    update: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    merge_patch: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    json_patch: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    array_filters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    upsert: bool = False


class FindAndModify(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The body of a find-and-modify: an update, a replacement, or a removal."""

    filter: msgspec.Raw
    """Required: what is left out by mistake must not be every document."""
    sort: dict[str, Any] | None = None
    projection: dict[str, Any] | None = None
    update: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    merge_patch: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    json_patch: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    replacement: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    array_filters: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    remove: bool = False
    upsert: bool = False
    image: str = msgspec.field(default="before", name="return")


class _Change(msgspec.Struct, frozen=True):
    """A checked body."""

    changes: Changes
    program: Program | None


async def update(call: Call) -> Answer:
    """Update the first document that matches, or with `many` all of them."""
    name, text, key = await _received(call)
    body = decode(text, Modification)
    change = await _checked(call, name, text, b"update", body, Image.NONE)
    if body.many:
        if body.upsert:
            raise InvalidPart("invalid_update", "/upsert", "an upsert is for a single document; many must be false")
        return await _many(call, body, change, key, "modified")
    _check_single(body)
    changed = await call.api.store.updates.one(change.changes, key=key, timeout_s=call.timeout_s)
    _check_outcome(call, changed, change)
    item = changed.outcome.items[0] if changed.outcome is not None and changed.matched else None
    created = item is not None and item.created
    facts = {
        "matched": int(item is not None and not created),
        "modified": int(item is not None and not created and item.revision != item.previous_revision),
        "upserted_id": changed.id if created else None,
        "id": changed.id,
    }
    return _answer(call, changed, orjson.dumps(facts)[:-1], created=created)


async def delete(call: Call) -> Answer:
    """Delete the first document that matches, or with `many` all of them."""
    name, text, key = await _received(call)
    body = decode(text, Deletion)
    change = await _checked(call, name, text, b"delete", body, Image.NONE)
    if body.many:
        return await _many(call, body, change, key, "deleted")
    _check_single(body)
    changed = await call.api.store.updates.one(change.changes, key=key, timeout_s=call.timeout_s)
    _check_outcome(call, changed, change)
    return _answer(call, changed, orjson.dumps({"deleted": int(changed.matched), "id": changed.id})[:-1])


async def find_and_modify(call: Call) -> Answer:
    """Change the first document that matches and answer it as it was, or as it is then."""
    name, text, key = await _received(call)
    body = decode(text, FindAndModify)
    if body.image not in ("before", "after"):
        raise InvalidPart("invalid_update", "/return", "return is before or after")
    if body.remove and body.image == "after":
        raise InvalidPart("invalid_update", "/return", "a document that is removed has no state after that")
    if body.remove and body.upsert:
        raise InvalidPart("invalid_update", "/upsert", "a removal inserts nothing; upsert must be false")
    image = Image.BEFORE if body.image == "before" else Image.AFTER
    change = await _checked(call, name, text, b"findAndModify", body, image)
    changed = await call.api.store.updates.one(change.changes, key=key, timeout_s=call.timeout_s)
    _check_outcome(call, changed, change)
    document, item = b"null", None
    if changed.outcome is not None and changed.matched:
        item = changed.outcome.items[0]
        document = image_text(changed.outcome)
        if item.value is not None:
            document = change.changes.find.shown(document)
    head = b'{"id":%b,"created":%b,"modified":%b,"document":%b' % (
        orjson.dumps(changed.id),
        b"true" if item is not None and item.created else b"false",
        b"true" if item is not None and item.revision != item.previous_revision else b"false",
        document,
    )
    return _answer(call, changed, head, created=item is not None and item.created)


async def _received(call: Call) -> tuple[str, bytes, str | None]:
    name = collection_name(call.arguments[0])
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", 'a filter names revisions itself: {"_revision": 42}')
    key = idempotency_key(headers)
    limits = call.api.limits
    text = await call.json_text(UPDATE_BYTES_MAX + limits.control_bytes_max, Rules(limits.depth_max, names_depth=0))
    return name, text, key


async def _checked(
    call: Call, name: str, text: bytes, verb: bytes, body: Deletion | FindAndModify, image: Image
) -> _Change:
    """Return the change that a body describes. Raises `Problem` or `InvalidPart`."""
    form, field, given = _form(body)
    upsert, array_filters = False, b""
    if isinstance(body, Modification | FindAndModify):
        upsert, array_filters = body.upsert, bytes(body.array_filters)
    projection = body.projection if isinstance(body, FindAndModify) else None
    when = bytes(body.filter)
    if when[:1] != b"{":
        # Null, too: a filter that is left out by mistake must not be every document.
        raise InvalidPart("invalid_filter", "/filter", 'a filter is an object, such as {"age": {"$gte": 18}}')
    if form is UpdateForm.REPLACE:
        _check_document(given)

    def parse() -> Find:
        return parse_find(orjson.loads(when), body.sort, projection)

    find = await in_thread(call, parse, when)
    pointers = (f"/{field}", "/filter", "/array_filters")
    template = Update(DocumentRef(name, ""), form, given, array_filters, when, upsert=upsert, image=image)
    program = await checked(call, template, pointers)
    return _Change(Changes(name, find, template, b"%b\0%b\0%b" % (verb, name.encode(), text)), program)


def _form(body: Deletion | FindAndModify) -> tuple[UpdateForm, str, bytes]:
    """Return the form of a body's change, its field and its text. Raises `InvalidPart`."""
    found = [(form, field, bytes(text)) for field, form in _BODIES.items() if (text := getattr(body, field, b""))]
    removes = type(body) is Deletion or (isinstance(body, FindAndModify) and body.remove)
    if removes and not found:
        return UpdateForm.DELETE, "remove", b""
    if len(found) != 1 or removes:
        fields = "update, merge_patch or json_patch"
        if isinstance(body, FindAndModify):
            fields = "update, merge_patch, json_patch, replacement or remove"
        raise InvalidPart("invalid_update", "", f"give one of: {fields}")
    return found[0]


def _check_document(text: bytes) -> None:
    if text[:1] != b"{":
        raise InvalidPart("invalid_update", "/replacement", "a document is a JSON object")
    if has_reserved_name(text):
        raise InvalidPart("reserved_field", "/replacement", RESERVED_NAMES)


def _check_single(body: Deletion) -> None:
    for field, given in (("cursor", body.cursor), ("limit", body.limit)):
        if given is not None:
            raise InvalidPart("invalid_query", f"/{field}", f"{field} goes with many")


def _check_outcome(call: Call, changed: Changed, change: _Change) -> None:
    outcome = changed.outcome
    if outcome is None or outcome.code is Code.OK:
        return
    if outcome.code is Code.PRECONDITION_FAILED:
        raise Problem(
            "document_exists",
            "the document to insert exists, and does not match the filter",
            headers=outcome_lines(outcome),
            revision=outcome.revision,
            id=changed.id,
        )
    problem = update_refusal(outcome, change.program, written_by(call.api.store, change.changes.template))
    if changed.id is not None:
        problem.members["id"] = changed.id
    raise problem


def _answer(call: Call, changed: Changed, head: bytes, *, created: bool = False) -> Answer:
    """Return the answer to a change of one document; `head` begins its body."""
    outcome = changed.outcome
    revision = call.api.store.revision if outcome is None else outcome.revision
    lines = b"%bX-Revision: %d\r\n" % (JSON, revision)
    if outcome is not None:
        lines += outcome_lines(outcome)
        if outcome.items and outcome.items[0].revision:
            revision = outcome.items[0].revision
            lines += b'ETag: "%d"\r\n' % revision
    return Answer(201 if created else 200, lines, b'%b,"revision":%d}' % (head, revision))


async def _many(call: Call, body: Deletion, change: _Change, key: str | None, counted: str) -> Answer:
    if body.sort is not None:
        raise InvalidPart("invalid_query", "/sort", "many documents are changed in the order of their IDs")
    scope = ("many", change.changes.collection, counted, _identity(change.changes))
    place = None
    if body.cursor is not None:
        after, since, until = decode_progress(scope, body.cursor)
        place = Place(after, since, until)
    limit = MANY_DOCUMENTS if body.limit is None else body.limit
    progress = await call.api.store.updates.many(change.changes, place, limit=limit, key=key, timeout_s=call.timeout_s)
    facts = _facts(progress, scope, counted)
    if progress.failed is not None:
        written = written_by(call.api.store, change.changes.template)
        problem = update_refusal(progress.failed, change.program, written)
        problem.members |= facts
        if progress.failed_id:
            problem.members["id"] = progress.failed_id
        if progress.matched:
            problem.outcome = "applied"
        raise problem
    if progress.error is not None:
        # With the cursor the rest may be done, and nothing twice.
        problem = problem_of(progress.error, safe_to_repeat=True)
        if progress.matched and problem.outcome is None and problem.code != "outcome_unknown":
            problem.outcome = "applied"
        problem.members |= facts
        if progress.matched or problem.code == "outcome_unknown":
            problem.detail = f"{progress.error}; continue with next_cursor"
        raise problem
    lines = b"%bX-Revision: %d\r\n" % (JSON, progress.revision)
    return Answer(200, lines, orjson.dumps({**facts, "revision": progress.revision}))


def _facts(progress: Progress, scope: tuple[str, ...], counted: str) -> dict[str, object]:
    place = progress.place
    cursor = None if place is None else encode_progress(scope, place.after, place.since, place.until)
    facts: dict[str, object] = {counted: progress.modified, "skipped": progress.skipped, "next_cursor": cursor}
    if progress.warned:
        facts["schema_warnings"] = progress.warned
    return facts if counted == "deleted" else {"matched": progress.matched, **facts}


def _identity(changes: Changes) -> str:
    template = changes.template
    return b"\0".join((template.body, template.array_filters, template.when)).hex()
