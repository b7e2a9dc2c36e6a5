"""Roles: create or replace, list, read, delete. Their entity tag is the revision of their last change."""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.roles import ROLE_BYTES_MAX
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
from collectionstore_node.api.http.names import role_name
from collectionstore_node.service.access import RoleFacts
from collectionstore_node.service.access_requests import DeleteRole, ListRoles, PutRole
from collectionstore_node.service.results import ListResult


async def put(call: Call) -> Answer:
    """Create or replace a role; with `missing=allow` it may name collections that do not exist."""
    require_administrator(call)
    name, expected, key = role_name(call.arguments[0]), expected_revision(call), idempotency_key(call.request.headers)
    body = await body_text(call, ROLE_BYTES_MAX)
    action = PutRole(name, body, expected, missing=call.options.missing)
    outcome = ok(await call.api.store.access.change(action, key=key, timeout_s=call.timeout_s))
    return changed(name, outcome, call.request.path)


async def get(call: Call) -> Answer:
    """Return a role."""
    require_administrator(call)
    facts, revision = await call.api.store.access.read_role(
        role_name(call.arguments[0]), consistency=call.options.consistency, timeout_s=call.timeout_s
    )
    tag = b"" if facts.record is None else b'ETag: "%d"\r\n' % facts.record.revision
    return json_answer(_shown(facts), headers=tag + revision_line(revision) + NO_CACHE)


async def list_page(call: Call) -> Answer:
    """Return a page of roles by name, those among them that are built in."""
    require_administrator(call)
    options = call.options
    scope = ("roles", options.prefix)
    page = await call.api.store.access.list_roles(
        ListRoles(options.prefix, after_cursor(call, scope), options.limit),
        consistency=options.consistency,
        timeout_s=call.timeout_s,
    )
    items = tuple(orjson.dumps(_shown(one)) for one in page.items)
    return page_answer(scope, ListResult(items, page.next_after, page.revision), "roles")


async def delete(call: Call) -> Answer:
    """Delete a role that nothing names any more."""
    require_administrator(call)
    name = role_name(call.arguments[0])
    action = DeleteRole(name, expected_revision(call))
    key = idempotency_key(call.request.headers)
    outcome = ok(await call.api.store.access.change(action, key=key, timeout_s=call.timeout_s))
    return removed(outcome, orjson.dumps({"name": name, "revision": outcome.revision}))


def _shown(facts: RoleFacts) -> dict[str, Any]:
    record = facts.record
    # As it was given, without parsing it again: filters would be compiled for that.
    given = msgspec.to_builtins(BUILT_IN[facts.name]) if record is None else orjson.loads(record.body)
    members: dict[str, Any] = {
        "name": facts.name,
        "rules": given.get("rules", []),
        "inherits": given.get("inherits", []),
        "description": given.get("description", ""),
        "built_in": record is None,
    }
    if record is not None:
        members |= {"created_revision": record.created_revision, "revision": record.revision}
    return members
