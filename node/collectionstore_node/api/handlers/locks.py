"""Locks with fencing tokens: acquire, renew, release, read."""

from __future__ import annotations

from typing import Annotated, Final, cast

import msgspec
import orjson

from collectionstore_node.api.handlers.read_answers import NO_CACHE, after_cursor, page_answer
from collectionstore_node.api.handlers.watch_answers import Connected
from collectionstore_node.api.handlers.write_answers import outcome_lines, refusal, removed
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.lives import LEASE_ID_MAX, needed_life
from collectionstore_node.api.http.names import lock_name, quoted
from collectionstore_node.api.http.options import duration_s
from collectionstore_node.api.http.preconditions import write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.locks import lock_of
from collectionstore_node.service.operations import ANY, LOCKS, ListKeys
from collectionstore_node.service.results import Code, Listed, LockInfo

OWNER_CHARACTERS_MAX: Final = 256
ANSWER_S: Final = 0.5
"""What is left of the time of a request that waits, to make the last attempt and to answer."""

Token = Annotated[int, msgspec.Meta(ge=1, le=LEASE_ID_MAX)]


class Acquisition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of an acquisition: who acquires, for how long, and for how long it waits, such as `5s`."""

    owner: str
    ttl: str | None = None
    lease: int | None = None
    wait: str | None = None


class Renewal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a renewal."""

    token: Token
    ttl: str | None = None
    lease: int | None = None


class Release(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a release: the holder's `token`, or `force` for anyone's."""

    token: Token | None = None
    force: bool = False


async def acquire(call: Call) -> Answer:
    """Acquire a lock, and wait for it if `wait` says so; 409 with its holder if another one holds it."""
    name, key = _name(call), _key(call)
    body = await call.json_struct(Acquisition)
    if not 1 <= len(body.owner) <= OWNER_CHARACTERS_MAX or not body.owner.isprintable():
        raise _invalid("/owner", f"an owner has 1 to {OWNER_CHARACTERS_MAX} printable characters")
    life = needed_life(body.ttl, body.lease)
    wait_s = _wait_s(call, body.wait)
    store, connection = call.api.store, cast(Connected, call.request.protocol)
    outcome = await store.locks.acquire(
        name,
        body.owner,
        life,
        wait_s=wait_s,
        key=key,
        timeout_s=call.timeout_s,
        gone=lambda: connection.gone or connection.half_closed,
    )
    if outcome.code is Code.PRECONDITION_FAILED:
        problem = Problem(
            "lock_held", "another one holds the lock", headers=outcome_lines(outcome), revision=outcome.revision
        )
        # The outcome says that it is held, and not by which client.
        holder = store.locks.known(name)
        if holder is not None:
            problem.members["holder"] = _shown(holder)
        raise problem
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="lock_not_found")
    members = {"name": name, "owner": body.owner, "token": outcome.revision, "revision": outcome.revision}
    return json_answer(members, status=201, headers=revision_line(outcome.revision) + outcome_lines(outcome))


async def renew(call: Call) -> Answer:
    """Hold a lock for a ttl from now on, or for a lease; only its holder can."""
    name, key = _name(call), _key(call)
    body = await call.json_struct(Renewal)
    life = needed_life(body.ttl, body.lease)
    outcome = await call.api.store.locks.renew(name, body.token, life, key=key, timeout_s=call.timeout_s)
    if outcome.code in (Code.PRECONDITION_FAILED, Code.NOT_FOUND):
        raise _not_held(outcome.revision, outcome_lines(outcome))
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="lock_not_found")
    members = {"name": name, "token": body.token, "revision": outcome.revision}
    return json_answer(members, headers=revision_line(outcome.revision) + outcome_lines(outcome))


async def release(call: Call) -> Answer:
    """Release a lock; without `force` only its holder can."""
    name, key = _name(call), _key(call)
    body = await call.json_struct(Release)
    if (body.token is None) != body.force:
        raise _invalid("/token", "give the token of the holder, or force: true, and not both")
    outcome = await call.api.store.locks.release(name, body.token, key=key, timeout_s=call.timeout_s)
    if outcome.code in (Code.PRECONDITION_FAILED, Code.NOT_FOUND):
        raise _not_held(outcome.revision, outcome_lines(outcome))
    if outcome.code is not Code.OK:
        raise refusal(outcome, absent="lock_not_found")
    return removed(outcome, orjson.dumps({"name": name, "revision": outcome.revision}))


async def get(call: Call) -> Answer:
    """Return who holds a lock; 404 if it is free."""
    found = await call.api.store.locks.read(_name(call), consistency=call.options.consistency, timeout_s=call.timeout_s)
    if found.lock is None:
        raise Problem("lock_not_found", "the lock is free")
    return json_answer(_shown(found.lock), headers=revision_line(found.revision) + NO_CACHE)


async def list_page(call: Call) -> Answer:
    """Return a page of the locks that are held, by name."""
    options = call.options
    scope = ("locks", options.prefix)
    request = ListKeys(LOCKS, options.prefix, after_cursor(call, scope), options.limit)
    page = await call.api.store.lists.keys(
        request, show=_listed, consistency=options.consistency, timeout_s=call.timeout_s
    )
    return page_answer(scope, page, "locks")


def _listed(item: Listed) -> bytes:
    held = lock_of(item.id, item.stored)
    return orjson.dumps({"name": held.name, "owner": held.owner, "token": held.token})


def _shown(held: LockInfo) -> dict[str, object]:
    members: dict[str, object] = {"name": held.name, "owner": held.owner, "token": held.token}
    members["expires_in_ms"] = held.left_ms
    if held.lease:
        members["lease"] = held.lease
    return members


def _name(call: Call) -> str:
    return lock_name(call.arguments[0])


def _wait_s(call: Call, text: str | None) -> float:
    if text is None:
        return 0.0
    wait_s, most_s = duration_s(text), call.timeout_s - ANSWER_S
    if not 0 < wait_s <= most_s:
        raise _invalid(
            "/wait",
            f"wait is {quoted(text)}; allowed is a time such as 500ms or 5s, up to {max(0.0, most_s):g}s: half a "
            "second less than `timeout`",
        )
    return wait_s


def _key(call: Call) -> str | None:
    headers = call.request.headers
    if write_precondition(headers) is not ANY:
        raise Problem("invalid_precondition", "locks take no precondition; their token is in the body")
    return idempotency_key(headers)


def _not_held(revision: int, lines: bytes) -> Problem:
    detail = "the lock is free, or held under another token: it has expired, was released, or was taken away"
    return Problem("lock_not_held", detail, headers=lines, revision=revision)


def _invalid(pointer: str, detail: str) -> Problem:
    return Problem("invalid_body", detail, errors=[{"pointer": pointer, "detail": detail}])
