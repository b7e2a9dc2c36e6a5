"""Answers, the same of a stream and of a request, and the events of a stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from collectionstore.errors import ProblemError, problem_error


class Answer(msgspec.Struct, gc=False):
    """One answer, or one event of a stream; `body` is JSON text."""

    tag: int = -1
    status: int = 0
    revision: int = 0
    etag: int | None = None
    body: bytes | None = None
    value: bytes | None = None
    content_type: str | None = None
    staleness_ms: int | None = None
    id: str | None = None
    replayed: bool = False
    schema_warning: bool = False
    event: str | None = None
    accepted: int = 0
    watch: int = -1
    events: list[bytes] = []
    token: str | None = None
    ended: bool = False
    expires_in_ms: int | None = None
    """Of requests only."""
    lease: int | None = None


class Hello(msgspec.Struct):
    """What a stream begins with."""

    event: str
    protocol: int
    version: str
    cluster_id: str = ""
    node_id: str = ""
    node: str = ""
    limits: dict[str, int] = {}


decode_answers: Final = msgspec.msgpack.Decoder(list[Answer]).decode
decode_hello: Final = msgspec.msgpack.Decoder(list[Hello]).decode


def answer_of(status: int, headers: Mapping[str, str], body: bytes, *, raw: bool) -> Answer:
    """Return the answer of an HTTP response; `raw`: a value is asked for, not JSON."""
    json_body = not raw or status >= 400
    return Answer(
        status=status,
        revision=_number(headers.get("X-Revision")) or 0,
        etag=_number(headers.get("ETag", "").strip('"')),
        body=body if json_body and body else None,
        value=None if json_body else body,
        content_type=headers.get("Content-Type"),
        staleness_ms=_number(headers.get("X-Staleness-Ms")),
        id=_created_id(headers.get("Location")),
        replayed=headers.get("Idempotency-Replayed") == "true",
        schema_warning="X-Schema-Warning" in headers,
        expires_in_ms=_number(headers.get("X-Expires-In-Ms")),
        lease=_number(headers.get("X-Lease")),
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdecimal() else None


def _created_id(location: str | None) -> str | None:
    if not location or "/documents/" not in location:
        return None
    from urllib.parse import unquote

    return unquote(location.rpartition("/")[2])


def answer_error(answer: Answer) -> ProblemError:
    """Return the error of an answer whose status is one."""
    return problem_error(read_problem(answer.status, answer.body))


def read_problem(status: int, body: bytes | None) -> dict[str, Any]:
    """Return the problem in a body; one without, such as of a proxy, is unknown and has its status only."""
    try:
        problem = msgspec.json.decode(body or b"")
    except msgspec.DecodeError:
        problem = None
    if not isinstance(problem, dict):
        return {"status": status, "code": "no_problem", "detail": "an answer that is not one of a Collection Store"}
    problem.setdefault("status", status)
    return problem
