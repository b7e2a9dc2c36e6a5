"""What the handlers of access control share: who may call them, preconditions, and why a change was refused."""

from __future__ import annotations

from typing import Final

from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.current import CALLER
from collectionstore_node.access.modes import Mode
from collectionstore_node.api.handlers.write_answers import outcome_lines
from collectionstore_node.api.http.answers import Answer, json_answer, revision_line
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.idempotency import idempotency_key
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.preconditions import ABSENT, write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.operations import ANY
from collectionstore_node.service.results import Code, Outcome, refused_part

NO_STORE: Final = b"Cache-Control: no-store\r\n"
_CHALLENGE: Final = b"WWW-Authenticate: Bearer\r\n"

_REFUSALS: Final = {
    Code.USER_NOT_FOUND: ("user_not_found", "create it first: PUT /api/v1/users/{name}"),
    Code.ROLE_NOT_FOUND: ("role_not_found", f"there is no such role; built in are {', '.join(BUILT_IN)}"),
    Code.TOKEN_NOT_FOUND: ("token_not_found", "there is no such token, or it was revoked"),
    Code.ACCESS_INVALID: ("invalid_access", "the members of the cluster do not accept it"),
    Code.LOCKED_OUT: (
        "access_lockout",
        "no one could administer the store then: no user that is enabled, has a role that allows `admin` on the "
        "cluster, and has a password or a token; change it with a certificate of an operator, or make such a user",
    ),
    Code.LEVEL_TOO_LOW: ("upgrade_pending", "not all members of the cluster are of a version that can do this"),
    Code.IDEMPOTENCY_KEY_REUSED: ("idempotency_key_reused", "send a new key with a new request"),
    Code.OUTCOME_UNKNOWN: ("settled", "its fate was asked when it was no longer known: it is not applied now"),
    Code.SETTLED: ("settled", "its fate was decided before it came to be applied: it never will be"),
}


def require_administrator(call: Call) -> None:
    """Refuse callers that may not administer access control. Raises `Problem` 401 or 403.

    While access control is not enforced, those who may change the cluster may prepare it: not everyone, as who makes
    users today has their rights tomorrow. BEFORE the body is read: who may not send it gets nothing buffered.
    """
    access = call.api.store.access
    if access.administers():
        return
    if access.mode is not Mode.ENFORCED:
        call.require_operator("a change of access control")
        return
    if CALLER.get() is None:
        raise Problem("unauthorized", "this needs a credential", headers=_CHALLENGE)
    raise Problem("forbidden", "this needs `admin` on the cluster")


def expected_revision(call: Call) -> int | None:
    """Return the revision that `If-Match` demands, 0 for `If-None-Match: *`, None without both. Raises `Problem`."""
    precondition = write_precondition(call.request.headers)
    if precondition == ANY:
        return None
    if precondition == ABSENT:
        return 0
    revisions = precondition.revisions or ()
    if len(revisions) != 1:
        raise Problem("invalid_precondition", "this takes one entity tag in If-Match, or If-None-Match: *")
    return revisions[0]


def unconditional_key(call: Call) -> str | None:
    """Return the idempotency key of a request that takes no precondition. Raises `Problem`."""
    if write_precondition(call.request.headers) != ANY:
        raise Problem("invalid_precondition", "this takes no precondition")
    return idempotency_key(call.request.headers)


async def body_text(call: Call, bytes_max: int) -> bytes:
    """Return the body, a JSON object, without white space between tokens. Raises `Problem`."""
    return await call.json_text(bytes_max, Rules(call.api.limits.depth_max, names_depth=0))


def ok(outcome: Outcome, body: bytes = b"") -> Outcome:
    """Return an outcome that is OK. Raises the `Problem` of any other."""
    code = outcome.code
    if code is Code.OK:
        return outcome
    facts, revision = outcome_lines(outcome), outcome.revision
    if code is Code.PRECONDITION_FAILED:
        current = outcome.current_revision
        detail = f"the current revision is {current}" if current else "the target does not exist"
        raise Problem("precondition_failed", detail, headers=facts, current_revision=current, revision=revision)
    if code in (Code.ACCESS_UNKNOWN, Code.ROLE_CIRCULAR, Code.ACCESS_FULL):
        pointer, name = refused_part(outcome)
        detail = _part_detail(code, pointer, name)
        errors = [{"pointer": pointer, "detail": detail}]
        raise Problem("invalid_access", detail, headers=facts, revision=revision, errors=errors)
    if code is Code.ROLE_IN_USE:
        kind, name = refused_part(outcome)
        where = f"at {name}" if kind == "configuration" else repr(name)
        raise Problem("role_in_use", f"the {kind} {where} names it", headers=facts, revision=revision)
    name, detail = _REFUSALS[code]
    raise Problem(name, detail, headers=facts, revision=revision)


def _part_detail(code: Code, pointer: str, name: str) -> str:
    if code is Code.ROLE_CIRCULAR:
        return f"the role would inherit itself by {name!r}"
    if code is Code.ACCESS_FULL:
        return f"there may be at most {name}"
    what = "collection" if "/collections/" in pointer else "role"
    allowed = "; create it first, or send ?missing=allow" if what == "collection" else ""
    return f"there is no {what} {name!r}{allowed}"


def changed(name: str, outcome: Outcome, place: str) -> Answer:
    """Return the answer to a change of what is called `name`, at the path `place`."""
    revision = outcome.revision
    headers = b'ETag: "%d"\r\n' % revision + revision_line(revision) + outcome_lines(outcome)
    if outcome.created:
        headers += b"Location: %s\r\n" % place.encode()
    return json_answer({"name": name, "revision": revision}, status=201 if outcome.created else 200, headers=headers)
