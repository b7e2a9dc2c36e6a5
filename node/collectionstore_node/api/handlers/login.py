"""Logging in with a password, for a token that ends soon; and the passwords of users.

A session is a token of the store that its user did not have to be given: it is known on every member, ends by itself,
and is revoked by logging out, as all others are.
"""

from __future__ import annotations

import os
from typing import Final, cast

import msgspec
import orjson
from aiohttp import hdrs

from collectionstore_node.access.bodies import USER_NAME, USER_NAME_RULE
from collectionstore_node.access.callers import Method
from collectionstore_node.access.current import CALLER
from collectionstore_node.access.tokens import ID_BYTES, SECRET_BYTES, make_token
from collectionstore_node.api.handlers.access_answers import NO_STORE, ok, require_administrator, unconditional_key
from collectionstore_node.api.handlers.write_answers import outcome_lines
from collectionstore_node.api.http.answers import JSON, Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.guard import Guard, Line, unauthorized
from collectionstore_node.api.http.names import document_id
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.authn.headers import (
    PASSWORD_BYTES_MAX,
    USER_CHARACTERS_MAX,
    Basic,
    checked_password,
    parse_authorization,
)
from collectionstore_node.authn.refusals import Refused
from collectionstore_node.service.access_requests import CreateToken, SetPassword
from collectionstore_node.service.results import Code

PASSWORD_CHARACTERS_MIN: Final = 8
_DESCRIPTION: Final = "login"


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a login, where the Authorization header has no password."""

    user: str
    password: str


class NewPassword(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body that sets a password."""

    password: str


async def log_in(call: Call) -> Answer:
    """Return a new token for a user and a password, given in the body, or in the Authorization header as Basic."""
    guard = _guard(call)
    given = await _given(call)
    caller = await guard.log_in(cast(Line, call.request.protocol), given)
    access = call.api.store.access
    lasts_s = access.configuration.session_s
    made = make_token(os.urandom(ID_BYTES), os.urandom(SECRET_BYTES))
    now_ms = call.api.store.wall_ms()
    expires_ms = now_ms + lasts_s * 1000
    session = CreateToken(made.id, caller.user, made.digest, now_ms, expires_ms, _DESCRIPTION, session=True)
    outcome = await access.open_session(session, timeout_s=call.timeout_s)
    if outcome.code is Code.USER_NOT_FOUND:
        raise unauthorized()
    ok(outcome)
    body = {
        "token": made.text,
        "id": made.id,
        "user": caller.user,
        "expires_ms": expires_ms,
        "expires_in_s": lasts_s,
        "revision": outcome.revision,
    }
    return json_answer(body, status=201, headers=revision_line(outcome.revision) + NO_STORE)


async def log_out(call: Call) -> Answer:
    """Revoke the token that the request shows: it ends at once, with all streams that it has opened."""
    caller = CALLER.get()
    if caller is None or caller.method is not Method.TOKEN:
        raise Problem("not_logged_in", "only a token is logged out: this request shows another credential, or none")
    outcome = await call.api.store.access.close_session(caller.credential, timeout_s=call.timeout_s)
    if outcome.code is not Code.TOKEN_NOT_FOUND:
        ok(outcome)
    return Answer(200, JSON + NO_STORE + revision_line(outcome.revision), orjson.dumps({"revision": outcome.revision}))


async def set_password(call: Call) -> Answer:
    """Set the password of a user; what was opened with the one before ends."""
    require_administrator(call)
    return await _change(call, (await call.json_struct(NewPassword)).password)


async def remove_password(call: Call) -> Answer:
    """Leave a user without a password."""
    require_administrator(call)
    return await _change(call, None)


async def _change(call: Call, password: str | None) -> Answer:
    user = document_id(call.arguments[0], USER_CHARACTERS_MAX)
    if USER_NAME.fullmatch(user) is None:
        raise Problem("invalid_name", f"the name of a user is {USER_NAME_RULE}")
    if unconditional_key(call) is not None:
        # The hash of a password has a salt, so a second attempt is never the same command.
        raise Problem("invalid_idempotency_key", "setting a password is safe to repeat: it takes no key")
    hashed = "" if password is None else await call.api.passwords.hash(_new_password(password))
    action = SetPassword(user, hashed)
    outcome = await call.api.store.access.change(action, key=None, timeout_s=call.timeout_s)
    ok(outcome)
    headers = JSON + revision_line(outcome.revision) + outcome_lines(outcome) + NO_STORE
    return Answer(200, headers, orjson.dumps({"user": user, "revision": outcome.revision}))


def _new_password(password: str) -> str:
    if len(password) < PASSWORD_CHARACTERS_MIN:
        raise _invalid(f"a password has {PASSWORD_CHARACTERS_MIN} characters or more")
    try:
        return checked_password("user", password).password
    except Refused:
        raise _invalid(f"a password has at most {PASSWORD_BYTES_MAX} bytes of UTF-8") from None


def _invalid(detail: str) -> Problem:
    return Problem("invalid_body", detail, errors=[{"pointer": "/password", "detail": detail}])


async def _given(call: Call) -> Basic:
    header = call.request.headers.get(hdrs.AUTHORIZATION)
    try:
        if header is not None and header[:6].lower() == "basic ":
            given = parse_authorization(header)
            if isinstance(given, Basic):
                return given
        body = await call.json_struct(Login)
        return checked_password(body.user, body.password)
    except Refused:
        raise unauthorized() from None


def _guard(call: Call) -> Guard:
    guard = call.api.guard
    if guard is None:
        raise Problem("unavailable", "this port knows no users")
    return guard
