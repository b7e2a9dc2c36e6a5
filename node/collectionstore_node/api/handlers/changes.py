"""Updates of one document by its ID: PATCH in three forms, and PUT and DELETE under a condition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
import orjson
from aiohttp import hdrs

from collectionstore_node.api.handlers.tickets import decided
from collectionstore_node.api.handlers.write_answers import Written, outcome_lines, refusal, written_by
from collectionstore_node.api.http.answers import JSON, Answer
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.json_bodies import check_syntax, compact_json
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.names import quoted
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.limits import UPDATE_BYTES_MAX
from collectionstore_node.service.lives import living
from collectionstore_node.service.operations import DocumentRef, Image, Update, UpdateForm
from collectionstore_node.service.results import Code, Outcome
from collectionstore_node.service.update_checks import Program, check_text

T = TypeVar("T")

AT_ONCE_BYTES_MAX: Final = 2 << 10
"""A larger update, or one with patterns, is checked in the thread of queries."""

FORMS: Final = {
    "application/json": UpdateForm.OPERATORS,
    "application/merge-patch+json": UpdateForm.MERGE_PATCH,
    "application/json-patch+json": UpdateForm.JSON_PATCH,
}
_ACCEPT: Final = b"Accept-Patch: %b\r\n" % ", ".join(FORMS).encode()
"""RFC 5789 3.1."""
_WRAPPED: Final = b'{"":%b}'


async def patch(call: Call, ref: DocumentRef) -> Answer:
    """Change a document where it is; the type of the body says how. 201 when it is new, else 200."""
    headers, options = call.request.headers, call.options
    precondition, key = write_precondition(headers), idempotency_key(headers)
    form = _form(headers.get(hdrs.CONTENT_TYPE))
    when, array_filters = condition_text(call), _parameter(call, "array_filters", options.array_filters)
    body = await _body(call)
    update = Update(
        ref,
        form,
        body,
        array_filters or b"",
        when or b"",
        precondition,
        upsert=options.upsert,
        image=options.image,
    )
    program = await checked(call, update)
    outcome = await decided(call, living(options.life, update), key, {"id": ref.id})
    if isinstance(outcome, Answer):
        return outcome
    if outcome.code is not Code.OK:
        raise update_refusal(outcome, program, written_by(call.api.store, update))
    return changed_answer(ref.id, options.image, outcome)


async def replace(call: Call, ref: DocumentRef, document: bytes, when: bytes) -> Outcome | Answer:
    """Replace a document that matches the filter `when`; one that is absent matches none. Raises `Problem`."""
    headers = call.request.headers
    precondition, key = write_precondition(headers), idempotency_key(headers)
    update = Update(ref, UpdateForm.REPLACE, document, when=when, precondition=precondition)
    await checked(call, update)
    outcome = await decided(call, living(call.options.life, update), key, {"id": ref.id})
    if isinstance(outcome, Answer):
        return outcome
    if outcome.code is Code.NOT_FOUND:
        raise Problem(
            "precondition_failed",
            "the target does not exist",
            headers=outcome_lines(outcome),
            current_revision=0,
            revision=outcome.revision,
        )
    if outcome.code is not Code.OK:
        raise update_refusal(outcome, None, Written(call.api.store, ref.collection, document))
    return outcome


async def remove(call: Call, ref: DocumentRef, when: bytes) -> Outcome | Answer:
    """Delete a document that matches the filter `when`. Raises `Problem`."""
    headers = call.request.headers
    precondition, key = write_precondition(headers), idempotency_key(headers)
    update = Update(ref, UpdateForm.DELETE, when=when, precondition=precondition)
    await checked(call, update)
    outcome = await decided(call, update, key, {"id": ref.id})
    if isinstance(outcome, Answer):
        return outcome
    if outcome.code is not Code.OK:
        raise update_refusal(outcome, None)
    return outcome


def condition_text(call: Call) -> bytes | None:
    """Return the filter in the parameter `when` as compact JSON, None without one. Raises `Problem`."""
    return _parameter(call, "when", call.options.when)


async def checked(
    call: Call, update: Update, pointers: tuple[str, str, str] = ("", "/when", "/array_filters")
) -> Program | None:
    """Return the program of an update in checked JSON, None for a whole document and a delete. Raises `InvalidPart`.

    `pointers` are where its body, its filter and its array filters are in the request.
    """
    body = b"" if update.form is UpdateForm.REPLACE else update.body
    return await in_thread(call, lambda: check_text(update, pointers), body, update.when, update.array_filters)


async def in_thread(call: Call, parse: Callable[[], T], *texts: bytes) -> T:
    """Return what `parse` returns or raises, which checks `texts`; at once if that takes no time."""
    # Also where the operator is written with escapes: a pattern takes long to compile.
    if sum(map(len, texts)) <= AT_ONCE_BYTES_MAX and not any(b"$regex" in one or b"\\u" in one for one in texts):
        return parse()
    return await call.api.store.queries.checked(parse, timeout_s=call.timeout_s)


def update_refusal(outcome: Outcome, program: Program | None, document: Written | None = None) -> Problem:
    """Return the problem of an update that was applied and changed nothing, with the part of it that does not fit."""
    problem = refusal(outcome, absent="document_not_found", document=document)
    position = outcome.failed_operation
    if program is not None and position is not None:
        where = {"pointer": program.pointer(position), "detail": f"{problem.detail}; {program.needs(position)}"}
        problem.members["errors"] = [where]
    return problem


def changed_answer(document_id: str, image: Image, outcome: Outcome) -> Answer:
    """Return the answer to an update of a document; its revision is the earlier one if nothing was changed."""
    item = outcome.items[0]
    head = b'{"id":%s,"revision":%d,"modified":%s' % (
        orjson.dumps(document_id),
        item.revision,
        b"true" if item.revision != item.previous_revision else b"false",
    )
    if image is not Image.NONE:
        head += b',"document":%b' % image_text(outcome)
    lines = b'%bETag: "%d"\r\nX-Revision: %d\r\n' % (JSON, item.revision, outcome.revision)
    return Answer(201 if item.created else 200, lines + outcome_lines(outcome), head + b"}")


def image_text(outcome: Outcome) -> bytes:
    """Return the text of a document that an update answers; null if there was none, and in a repeated answer."""
    return outcome.items[0].value or b"null"


def _form(given: str | None) -> UpdateForm:
    kind, _, parameters = (given or "").partition(";")
    form = FORMS.get(kind.strip().lower())
    charset = parameters.strip().lower().replace('"', "")
    if form is None or charset not in ("", "charset=utf-8"):
        shown = "none" if given is None else quoted(given)
        raise Problem(
            "unsupported_content_type",
            f"Content-Type must be one of {', '.join(FORMS)}, given: {shown}",
            headers=_ACCEPT,
        )
    return form


async def _body(call: Call) -> bytes:
    """Return the body, any JSON value, without white space between tokens. Raises `Problem`."""
    body = await call.body(UPDATE_BYTES_MAX)
    # Strict JSON is checked in objects; a patch may be a list.
    wrapped = _WRAPPED % body
    rules = Rules(call.api.limits.depth_max + 1, names_depth=0)
    try:
        text = await call.compact(wrapped, rules)
    except Problem as problem:
        raise _in_place(problem, body, rules) from None
    return _unwrapped(text, "malformed_json", "the body")


def _parameter(call: Call, name: str, given: str | None) -> bytes | None:
    """Return a parameter that is JSON. Raises `Problem`."""
    if given is None:
        return None
    rules = Rules(call.api.limits.depth_max + 1, names_depth=0)
    try:
        text = compact_json(_WRAPPED % given.encode(), rules)
    except Problem as wrapped:
        problem = _in_place(wrapped, given.encode(), rules)
        raise Problem("invalid_parameter", f"{name} is not JSON: {problem.detail}") from None
    return _unwrapped(text, "invalid_parameter", name)


def _in_place(problem: Problem, body: bytes, rules: Rules) -> Problem:
    """Return `problem` of a wrapped body with the place in the body itself, if it has a place."""
    if "column" in problem.members:
        try:
            check_syntax(body, rules.depth_max)
        except Problem as found:
            return found
    return problem


def _unwrapped(text: bytes, code: str, what: str) -> bytes:
    if list(msgspec.json.decode(text, type=dict[str, msgspec.Raw])) != [""]:
        raise Problem(code, f"{what} is not one JSON value")
    return text[len(_WRAPPED) - 3 : -1]
