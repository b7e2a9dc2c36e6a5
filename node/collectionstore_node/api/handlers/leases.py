"""Leases: grant, keep alive, revoke, read. What is attached to one is gone when it ends."""

from __future__ import annotations

import msgspec
import orjson

from collectionstore_node.api.handlers.read_answers import NO_CACHE, page_answer
from collectionstore_node.api.handlers.write_answers import outcome_lines, refusal, removed
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.cursors import decode_cursor
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.lives import lease_id, needed_life
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.operations import ANY, DocumentRef, ListLeases, ReadLease, Ref
from collectionstore_node.service.results import Code, LeaseInfo, ListResult, Outcome

_SCOPE = ("leases",)


class NewLease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST."""

    ttl: str


async def post(call: Call) -> Answer:
    """Grant a lease; its `id` is for the option `lease` of writes."""
    key = _key(call)
    life = needed_life((await call.json_struct(NewLease)).ttl, None)
    outcome = await call.api.store.leases.grant(life.ttl_ms, key=key, timeout_s=call.timeout_s)
    _check(outcome)
    number = outcome.revision
    location = b"Location: /api/v1/leases/%d\r\n" % number
    return json_answer(
        {"id": number, "ttl_ms": life.ttl_ms, "revision": number},
        status=201,
        headers=location + revision_line(number) + outcome_lines(outcome),
    )


async def keep(call: Call) -> Answer:
    """Keep a lease alive for its whole ttl from now on."""
    number, key = _number(call), _key(call)
    outcome = await call.api.store.leases.keep(number, key=key, timeout_s=call.timeout_s)
    _check(outcome)
    # The item of a keepalive holds the ttl.
    ttl_ms = outcome.items[0].revision
    return json_answer(
        {"id": number, "ttl_ms": ttl_ms, "revision": outcome.revision},
        headers=revision_line(outcome.revision) + outcome_lines(outcome),
    )


async def delete(call: Call) -> Answer:
    """Revoke a lease: all that is attached is gone at once."""
    number, key = _number(call), _key(call)
    outcome = await call.api.store.leases.revoke(number, key=key, timeout_s=call.timeout_s)
    _check(outcome)
    return removed(outcome, orjson.dumps({"id": number, "revision": outcome.revision}))


async def get(call: Call) -> Answer:
    """Return a lease: how long it lasts if it is not kept alive, and what is attached, the first thousand of it."""
    number = _number(call)
    found = await call.api.store.leases.read(
        ReadLease(number, attached=True), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    if found.lease is None:
        raise Problem("lease_not_found", "there is no such lease, or it has ended")
    members = _shown(found.lease) | {"records": [_target(ref) for ref in found.attached]}
    return json_answer(members, headers=revision_line(found.revision) + NO_CACHE)


async def list_page(call: Call) -> Answer:
    """Return a page of the leases that have not ended, in the order in which they were granted."""
    cursor, after = call.options.cursor, 0
    if cursor is not None:
        after = lease_id(decode_cursor(_SCOPE, cursor), "cursor", "invalid_cursor")
    page = await call.api.store.leases.page(
        ListLeases(after, call.options.limit), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    items = tuple(orjson.dumps(_shown(one)) for one in page.items)
    return page_answer(_SCOPE, ListResult(items, page.next_after, page.revision, page.stale_since), "leases")


def _shown(lease: LeaseInfo) -> dict[str, object]:
    return {"id": lease.id, "ttl_ms": lease.ttl_ms, "expires_in_ms": lease.left_ms, "attached": lease.attached}


def _target(ref: Ref) -> dict[str, str]:
    if isinstance(ref, DocumentRef):
        return {"collection": ref.collection, "id": ref.id}
    return {"bucket": ref.bucket, "key": ref.key}


def _number(call: Call) -> int:
    return lease_id(call.arguments[0], "lease", "invalid_name")


def _key(call: Call) -> str | None:
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "leases take no precondition")
    return idempotency_key(headers)


def _check(outcome: Outcome) -> None:
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="lease_not_found")
