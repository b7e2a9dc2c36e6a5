"""Tokens of users: create, rotate, list, read, revoke. A secret is in the answer that makes it, and nowhere else."""

from __future__ import annotations

import secrets
from typing import Any

import msgspec
import orjson

from collectionstore_node.access.tokens import ID_BYTES, SECRET_BYTES, make_token, new_secret
from collectionstore_node.api.handlers.access_answers import NO_STORE, ok, require_administrator, unconditional_key
from collectionstore_node.api.handlers.read_answers import NO_CACHE, after_cursor, page_answer
from collectionstore_node.api.handlers.write_answers import removed
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.lives import ttl_ms
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.access import TokenFacts, check_token_id, check_user_name
from collectionstore_node.service.access_requests import CreateToken, ListTokens, RevokeToken, RotateToken
from collectionstore_node.service.results import ListResult, rotated


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a POST. `ttl` is how long the token lasts; `none` for ever."""

    user: str
    ttl: str
    description: str = ""


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the secret before is accepted beside the new one, and how long the new one lasts: as before, without."""

    overlap: str = "none"
    ttl: str | None = None


async def post(call: Call) -> Answer:
    """Create a token of a user: the answer has its secret, which is shown this once."""
    require_administrator(call)
    _no_key(call)
    body = await call.json_struct(NewToken)
    check_user_name(body.user)
    now_ms = call.api.store.wall_ms()
    made = make_token(secrets.token_bytes(ID_BYTES), secrets.token_bytes(SECRET_BYTES))
    expires_ms = _expiry(body.ttl, now_ms)
    action = CreateToken(made.id, body.user, made.digest, now_ms, expires_ms, body.description)
    outcome = ok(await call.api.store.access.change(action, key=None, timeout_s=call.timeout_s))
    location = b"Location: /api/v1/tokens/%s\r\n" % made.id.encode()
    return json_answer(
        {
            "id": made.id,
            "user": body.user,
            "token": made.text,
            "expires_ms": expires_ms or None,
            "revision": outcome.revision,
        },
        status=201,
        headers=location + revision_line(outcome.revision) + NO_STORE,
    )


async def rotate(call: Call) -> Answer:
    """Give a token a new secret, which is shown this once; the one before is accepted during the overlap."""
    require_administrator(call)
    token_id = _token_id(call)
    _no_key(call)
    body = await call.json_struct(Rotation)
    now_ms = call.api.store.wall_ms()
    made = new_secret(token_id, secrets.token_bytes(SECRET_BYTES))
    expires_ms = None if body.ttl is None else _expiry(body.ttl, now_ms)
    overlap_ms = ttl_ms(body.overlap, "/overlap", "invalid_body")
    action = RotateToken(token_id, made.digest, now_ms + overlap_ms, expires_ms)
    outcome = ok(await call.api.store.access.change(action, key=None, timeout_s=call.timeout_s))
    now = rotated(outcome)
    return json_answer(
        {
            "id": token_id,
            "user": now.user,
            "token": made.text,
            "expires_ms": now.expires_ms or None,
            "previous_until_ms": now.previous_until_ms,
            "revision": outcome.revision,
        },
        headers=revision_line(outcome.revision) + NO_STORE,
    )


async def get(call: Call) -> Answer:
    """Return what is known of a token, which is not its secret."""
    require_administrator(call)
    facts, revision = await call.api.store.access.read_token(
        _token_id(call), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    return json_answer(_shown(facts), headers=revision_line(revision) + NO_CACHE)


async def list_page(call: Call) -> Answer:
    """Return a page of tokens by ID, with `user` those of one user."""
    require_administrator(call)
    options = call.options
    scope = ("tokens", options.user or "")
    page = await call.api.store.access.list_tokens(
        ListTokens(options.user, after_cursor(call, scope), options.limit),
        consistency=options.consistency,
        timeout_s=call.timeout_s,
    )
    items = tuple(orjson.dumps(_shown(one)) for one in page.items)
    return page_answer(scope, ListResult(items, page.next_after, page.revision), "tokens")


async def delete(call: Call) -> Answer:
    """Revoke a token: streams under it end within a second."""
    require_administrator(call)
    token_id, key = _token_id(call), unconditional_key(call)
    outcome = ok(await call.api.store.access.change(RevokeToken(token_id), key=key, timeout_s=call.timeout_s))
    return removed(outcome, orjson.dumps({"id": token_id, "revision": outcome.revision}))


def _shown(facts: TokenFacts) -> dict[str, Any]:
    record = facts.record
    return {
        "id": facts.id,
        "user": record.user,
        "description": record.description,
        "session": record.session,
        "created_ms": record.created_ms,
        "expires_ms": record.expires_ms or None,
        "previous_until_ms": record.previous_until_ms or None,
        "used_ms": record.used_ms or None,
        "created_revision": record.created_revision,
        "revision": record.revision,
    }


def _expiry(ttl: str, now_ms: int) -> int:
    milliseconds = ttl_ms(ttl, "/ttl", "invalid_body")
    return now_ms + milliseconds if milliseconds else 0


def _token_id(call: Call) -> str:
    token_id = call.arguments[0]
    check_token_id(token_id)
    return token_id


def _no_key(call: Call) -> None:
    """Refuse a key: the answer with the secret is not kept, so it cannot be given again."""
    if unconditional_key(call) is not None:
        raise Problem(
            "invalid_idempotency_key",
            "a secret is shown once, so this is not repeated by a key: list the tokens of the user, and revoke one "
            "whose secret was lost",
        )
