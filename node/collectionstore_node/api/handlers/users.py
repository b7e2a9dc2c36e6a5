"""Users: create or replace, list, read, delete. Their entity tag is the revision of their last change."""

from __future__ import annotations

from typing import Any

import orjson

from collectionstore_node.access.users import USER_BYTES_MAX
from collectionstore_node.api.handlers.access_answers import (
    body_text,
    changed,
    expected_revision,
    ok,
    require_administrator,
)
from collectionstore_node.api.handlers.read_answers import NO_CACHE, after_cursor, page_answer
from collectionstore_node.api.handlers.write_answers import removed
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.names import user_name
from collectionstore_node.service.access import UserFacts
from collectionstore_node.service.access_requests import DeleteUser, ListUsers, PutUser
from collectionstore_node.service.results import ListResult


async def put(call: Call) -> Answer:
    """Create a user, or replace what is said of it; its password and tokens stay."""
    require_administrator(call)
    name, expected, key = user_name(call.arguments[0]), expected_revision(call), idempotency_key(call.request.headers)
    body = await body_text(call, USER_BYTES_MAX)
    action = PutUser(name, body, expected)
    outcome = ok(await call.api.store.access.change(action, key=key, timeout_s=call.timeout_s))
    return changed(name, outcome, call.request.path)


async def get(call: Call) -> Answer:
    """Return a user."""
    require_administrator(call)
    facts, revision = await call.api.store.access.read_user(
        user_name(call.arguments[0]), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    lines = b'ETag: "%d"\r\n' % facts.record.revision + revision_line(revision) + NO_CACHE
    return json_answer(_shown(facts), headers=lines)


async def list_page(call: Call) -> Answer:
    """Return a page of users by name."""
    require_administrator(call)
    options = call.options
    scope = ("users", options.prefix)
    page = await call.api.store.access.list_users(
        ListUsers(options.prefix, after_cursor(call, scope), options.limit),
        consistency=options.consistency,
        timeout_s=call.timeout_s,
    )
    items = tuple(orjson.dumps(_shown(one)) for one in page.items)
    return page_answer(scope, ListResult(items, page.next_after, page.revision), "users")


async def delete(call: Call) -> Answer:
    """Delete a user with all its tokens: streams under its credentials end within a second."""
    require_administrator(call)
    name = user_name(call.arguments[0])
    action = DeleteUser(name, expected_revision(call))
    key = idempotency_key(call.request.headers)
    outcome = ok(await call.api.store.access.change(action, key=key, timeout_s=call.timeout_s))
    return removed(outcome, orjson.dumps({"name": name, "revision": outcome.revision}))


def _shown(facts: UserFacts) -> dict[str, Any]:
    record = facts.record
    user = record.user()
    limits = user.limits
    members: dict[str, Any] = {
        "name": facts.name,
        "roles": user.roles,
        "disabled": user.disabled,
        "description": user.description,
        "limits": None if limits is None else {name: getattr(limits, name) for name in limits.__struct_fields__},
        "password": bool(record.password),
        "created_revision": record.created_revision,
        "revision": record.revision,
    }
    return members | ({"password_revision": record.password_revision} if record.password_revision else {})
