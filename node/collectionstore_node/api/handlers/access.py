"""The access configuration, and who the caller is."""

from __future__ import annotations

from typing import Any

import msgspec

from collectionstore_node.access.configuration import (
    CONFIGURATION_BYTES_MAX,
    AccessConfiguration,
)
from collectionstore_node.api.handlers.access_answers import (
    NO_STORE,
    body_text,
    changed,
    expected_revision,
    ok,
    require_administrator,
)
from collectionstore_node.api.handlers.read_answers import NO_CACHE
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.service.access_requests import ConfigureAccess


async def whoami(call: Call) -> Answer:
    """Return who the caller is, and its roles, as this member has applied them."""
    store = call.api.store
    found = store.access.whoami()
    caller, revision = found.caller, store.revision
    members: dict[str, Any] = {
        "user": None if caller is None else caller.user,
        "method": None if caller is None else caller.method.value,
        "roles": found.roles,
        "mode": found.rights.mode.value,
        "administers": store.access.administers(),
        "access_revision": found.rights.revision,
        "revision": revision,
    }
    if caller is not None and caller.credential:
        members["credential"] = caller.credential
    if caller is not None and caller.expires_s is not None:
        members["expires_ms"] = round(caller.expires_s * 1000)
    return json_answer(members, headers=revision_line(revision) + NO_STORE)


async def get(call: Call) -> Answer:
    """Return the access configuration, and how many users, roles and tokens there are."""
    require_administrator(call)
    found = await call.api.store.access.read_access(consistency=call.options.consistency, timeout_s=call.timeout_s)
    record = found.record
    configuration = found.configuration or AccessConfiguration(mode=found.mode)
    shown = {name: _complete(getattr(configuration, name)) for name in configuration.__struct_fields__}
    members = shown | {
        "configured": found.configuration is not None,
        "users": record.users,
        "roles": record.roles,
        "tokens": record.tokens,
        "access_revision": found.access_revision,
        "configuration_revision": record.revision,
        "revision": found.revision,
    }
    tag = b'ETag: "%d"\r\n' % record.revision if record.revision else b""
    return json_answer(members, headers=tag + revision_line(found.revision) + NO_CACHE)


async def put(call: Call) -> Answer:
    """Replace the access configuration as a whole; it is in force from its revision on, on every member."""
    require_administrator(call)
    expected, key = expected_revision(call), idempotency_key(call.request.headers)
    body = await body_text(call, CONFIGURATION_BYTES_MAX)
    action = ConfigureAccess(body, expected)
    outcome = ok(await call.api.store.access.change(action, key=key, timeout_s=call.timeout_s))
    return changed("access", outcome, call.request.path)


def _complete(value: object) -> object:
    """Return a part of a configuration with all its fields, those too that have their defaults."""
    if isinstance(value, msgspec.Struct):
        return {name: _complete(getattr(value, name)) for name in value.__struct_fields__}
    return [_complete(one) for one in value] if isinstance(value, tuple) else value
