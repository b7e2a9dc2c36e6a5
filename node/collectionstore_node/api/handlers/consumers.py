"""Named consumers of changes: what each asks for, and how far its client has acknowledged."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.api.handlers.read_answers import NO_CACHE
from collectionstore_node.api.handlers.watching import ScopedWatching, asked_for, position_of, selected
from collectionstore_node.api.handlers.write_answers import outcome_lines, removed
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.names import consumer_name
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.changes import ALL, Position
from collectionstore_node.service.consumers import CONSUMERS_MAX, REQUEST_BYTES_MAX, ConsumerFacts
from collectionstore_node.service.operations import (
    ANY,
    AckConsumer,
    DeleteConsumer,
    PutConsumer,
    ReadConsumers,
    Start,
)
from collectionstore_node.service.results import Code, Outcome

_REFUSALS: Final = {
    Code.CONSUMER_NOT_FOUND: ("consumer_not_found", "create it first: PUT /api/v1/consumers/{name}"),
    Code.CONSUMER_EXISTS: ("consumer_exists", "it asks for something else; delete it first to change it"),
    Code.TOO_MANY_CONSUMERS: ("too_many_consumers", f"a cluster has at most {CONSUMERS_MAX} consumers; delete one"),
    Code.CONSUMER_POSITION: ("invalid_position", "the store has not reached the revision"),
    Code.LEVEL_TOO_LOW: ("upgrade_pending", "not all members of the cluster are of a version that can do this"),
    Code.IDEMPOTENCY_KEY_REUSED: ("idempotency_key_reused", "send a new key with a new request"),
}


class Acknowledgement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an acknowledgement."""

    token: str


async def list_all(call: Call) -> Answer:
    """Return all consumers of changes in order of name, each with its place and how far that is behind."""
    found = await call.api.store.consumers.read(
        ReadConsumers(), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    shown = [_shown(call, one, found.revision) for one in found.consumers]
    return json_answer(
        {"consumers": shown, "revision": found.revision}, headers=revision_line(found.revision) + NO_CACHE
    )


async def get(call: Call) -> Answer:
    """Return one consumer."""
    name = consumer_name(call.arguments[0])
    found = await call.api.store.consumers.read(
        ReadConsumers(name), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    return json_answer(
        _shown(call, found.consumers[0], found.revision), headers=revision_line(found.revision) + NO_CACHE
    )


async def put(call: Call) -> Answer:
    """Create a consumer: 201, or 200 if there is one of that name that asks for the same, which stays where it is."""
    name, key = consumer_name(call.arguments[0]), _key(call)
    body = await call.json_struct(ScopedWatching)
    scope, request = body.scope, asked_for(body)
    if len(request) > REQUEST_BYTES_MAX:
        raise Problem("invalid_consumer", f"a consumer asks with at most {REQUEST_BYTES_MAX} bytes")
    # Checked now: what cannot be parsed would be found at every watch.
    await selected(call.api.store, scope, body, timeout_s=call.timeout_s)
    start = position_of(call.api.store.watches.tokens, body.from_)
    if start is Start.SNAPSHOT:
        raise Problem("invalid_consumer", "a consumer begins now, behind a revision, or at a token")
    at, passed = (start.revision, start.passed) if isinstance(start, Position) else (None, 0)
    action = PutConsumer(name, scope.kind, scope.name, request, at, passed)
    outcome = _ok(await call.api.store.consumers.change(action, key=key, timeout_s=call.timeout_s))
    created = outcome.created
    members = {"name": name, "created_revision": outcome.revision if created else outcome.current_revision}
    headers = revision_line(outcome.revision) + outcome_lines(outcome)
    return json_answer(members, status=201 if created else 200, headers=headers)


async def acknowledge(call: Call) -> Answer:
    """Move a consumer forward to the place of a token; an older token changes nothing."""
    name, key = consumer_name(call.arguments[0]), _key(call)
    body = await call.json_struct(Acknowledgement)
    revision, passed = call.api.store.watches.tokens.decode(body.token)
    action = AckConsumer(name, revision, passed)
    outcome = _ok(await call.api.store.consumers.change(action, key=key, timeout_s=call.timeout_s))
    return json_answer(
        {"name": name, "revision": outcome.revision}, headers=revision_line(outcome.revision) + outcome_lines(outcome)
    )


async def delete(call: Call) -> Answer:
    """Delete a consumer."""
    name = consumer_name(call.arguments[0])
    outcome = await call.api.store.consumers.change(DeleteConsumer(name), key=_key(call), timeout_s=call.timeout_s)
    return removed(_ok(outcome), orjson.dumps({"name": name, "revision": outcome.revision}))


def _ok(outcome: Outcome) -> Outcome:
    if outcome.code is Code.OK:
        return outcome
    code, detail = _REFUSALS[outcome.code]
    raise Problem(code, detail, headers=outcome_lines(outcome), revision=outcome.revision)


def _key(call: Call) -> str | None:
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "consumers take no precondition")
    return idempotency_key(headers)


def _shown(call: Call, facts: ConsumerFacts, revision: int) -> dict[str, Any]:
    record, position = facts.record, facts.position
    members: dict[str, Any] = {"name": facts.name}
    if record.scope:
        members[record.kind] = record.scope
    members |= orjson.loads(record.request)
    members["token"] = call.api.store.watches.tokens.encode(position)
    members["position"] = {"revision": record.revision, "passed": None if record.passed == ALL else record.passed}
    members["lag"] = max(0, revision - record.revision)
    members["gone"] = facts.gone
    members["created_revision"] = record.created_revision
    members["acknowledged_ms"] = record.acked_ms
    return members
