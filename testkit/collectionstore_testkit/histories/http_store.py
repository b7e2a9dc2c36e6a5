"""One operation as one HTTP request, and what the answer means for the history."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

import aiohttp
import orjson

from collectionstore_testkit.histories.operations import Answer, Guard, Seen, Step

COLLECTION: Final = "histories"
BUCKET: Final = "histories"
_DOCUMENT: Final = "documents/"
_RAW: Final = "kv/"


@dataclass(frozen=True, slots=True)
class Request:
    """A request, before its response is known."""

    then: tuple[Step, ...]
    guards: tuple[Guard, ...] = ()
    otherwise: tuple[Step, ...] = ()
    transaction: bool = False
    """Whether it goes to the transactions endpoint; otherwise it is one step with at most one guard."""
    update: bool = False
    """Whether it is an update of a document: a put, or a get and a put, by a patch that answers what was there."""

    @property
    def writes(self) -> bool:
        """Whether it may change the state."""
        return any(step.action != "get" for step in (*self.then, *self.otherwise))


@dataclass(frozen=True, slots=True)
class Reply:
    """How a request ended. `retryable`: whether the store allows the same request to be sent again."""

    outcome: Literal["ok", "failed", "unknown"]
    answer: Answer | None = None
    retryable: bool = False


class BrokenPromise(AssertionError):
    """An answer that the API does not allow; the text says which."""


async def send(
    session: aiohttp.ClientSession, url: str, request: Request, *, timeout_s: float, key: str | None
) -> Reply:
    """Send `request` to the node at `url`; `key` makes a repetition harmless.

    What is lost on the way is unknown, unless it only reads. Raises `BrokenPromise`.
    """
    method, path, headers, body, parameters = _as_http(request)
    if key is not None:
        headers["Idempotency-Key"] = key
    try:
        async with session.request(
            method,
            f"{url}/api/v1{path}",
            params={"timeout": f"{round(timeout_s * 1000)}ms", **parameters},
            data=body,
            headers=headers,
            # The server's budget ends first, unless it is the server that hangs.
            timeout=aiohttp.ClientTimeout(total=timeout_s * 1.5),
        ) as response:
            return _understood(request, response, await response.read())
    except aiohttp.ClientConnectorError:
        return Reply("failed", retryable=True)  # it reached no node
    except (aiohttp.ClientError, TimeoutError, OSError):
        return Reply("unknown" if request.writes else "failed", retryable=True)


def _as_http(request: Request) -> tuple[str, str, dict[str, str], bytes | None, dict[str, str]]:
    if request.transaction:
        return "POST", "/transactions", {"Content-Type": "application/json"}, _transaction_body(request), {}
    step = request.then[-1]
    headers: dict[str, str] = {}
    parameters: dict[str, str] = {}
    for guard in request.guards:
        if guard.field == "value":
            parameters["when"] = orjson.dumps({"value": guard.operand}).decode()
        elif guard.operand == 0:
            headers["If-None-Match"] = "*"
        else:
            headers["If-Match"] = f'"{guard.operand}"'
    if request.update:
        parameters |= {"upsert": "true", "return": "before"}
        headers["Content-Type"] = "application/merge-patch+json"
        return "PATCH", _path(step.key), headers, _value_body(step), parameters
    if step.action == "put":
        document = step.key.startswith(_DOCUMENT)
        headers["Content-Type"] = "application/json" if document else "text/plain"
        return "PUT", _path(step.key), headers, _value_body(step), parameters
    return ("GET" if step.action == "get" else "DELETE"), _path(step.key), headers, None, parameters


def _path(key: str) -> str:
    if key.startswith(_DOCUMENT):
        return f"/collections/{COLLECTION}/documents/{quote(key.removeprefix(_DOCUMENT), safe='')}"
    return f"/kv/{BUCKET}/{quote(key.removeprefix(_RAW), safe='')}"


def _value_body(step: Step) -> bytes:
    if step.key.startswith(_DOCUMENT):
        return orjson.dumps({"value": step.value})
    return (step.value or "").encode()


def _transaction_body(request: Request) -> bytes:
    return orjson.dumps(
        {
            "compare": [_guard_body(guard) for guard in request.guards],
            "then": [_step_body(step) for step in request.then],
            "else": [_step_body(step) for step in request.otherwise],
        }
    )


def _target(key: str) -> dict[str, Any]:
    if key.startswith(_DOCUMENT):
        return {"collection": COLLECTION, "id": key.removeprefix(_DOCUMENT)}
    return {"bucket": BUCKET, "key": key.removeprefix(_RAW)}


def _guard_body(guard: Guard) -> dict[str, Any]:
    operand = guard.operand
    if guard.field == "value":
        operand = base64.b64encode(str(operand).encode()).decode()
    return {**_target(guard.key), "field": guard.field, "operand": operand}


def _step_body(step: Step) -> dict[str, Any]:
    body = {"op": step.action, **_target(step.key)}
    if step.action == "put" and step.key.startswith(_DOCUMENT):
        body["document"] = {"value": step.value}
    elif step.action == "put":
        body |= {"value": base64.b64encode((step.value or "").encode()).decode(), "content_type": "text/plain"}
    return body


def _understood(request: Request, response: aiohttp.ClientResponse, body: bytes) -> Reply:
    status, revision = response.status, response.headers.get("X-Revision")
    at = None if revision is None else int(revision)
    if status == 412:
        problem = _problem(status, body)
        return Reply("ok", Answer(succeeded=False, revision=at, current=problem.get("current_revision")))
    if status == 404 and not request.transaction:
        # A read finds nothing; a delete has nothing to do. The status alone does not distinguish either from a failure.
        problem = _problem(status, body)
        if problem.get("code") not in ("document_not_found", "key_not_found"):
            raise BrokenPromise(f"{problem.get('code')} for {request}")
        return Reply("ok", Answer(succeeded=True, revision=at, seen=(Seen(existed=False),)))
    if status in (200, 201):
        if request.transaction:
            return Reply("ok", _transaction_answer(request, orjson.loads(body)))
        if request.update:
            replayed = response.headers.get("Idempotency-Replayed") == "true"
            return Reply("ok", _update_answer(request, status, orjson.loads(body), replayed=replayed))
        (step,) = request.then
        if step.action == "get":
            etag = int(response.headers["ETag"].strip('"'))
            seen = Seen(existed=True, value=_value(step.key, body), revision=etag)
            return Reply("ok", Answer(succeeded=True, revision=at, seen=(seen,)))
        existed = status == 200
        written = orjson.loads(body)["revision"]
        return Reply("ok", Answer(succeeded=True, revision=written, seen=(Seen(existed=existed),)))
    problem = _problem(status, body)
    outcome = problem.get("outcome")
    if status >= 500 and outcome in ("not_applied", "unknown"):
        if outcome == "unknown" and not request.writes:
            outcome = "not_applied"
        return Reply("failed" if outcome == "not_applied" else "unknown", retryable=bool(problem.get("retryable")))
    raise BrokenPromise(f"{status} {problem} for {request}")


def _update_answer(request: Request, status: int, body: dict[str, Any], *, replayed: bool) -> Answer:
    existed = status == 200
    put = Seen(existed=existed)
    if len(request.then) == 1:
        return Answer(succeeded=True, revision=body["revision"], seen=(put,))
    before = body["document"]
    if existed and before is None and not replayed:
        raise BrokenPromise(f"an update answers no document that was there: {request}")
    # A replay does not hold it.
    value = None if before is None else str(before["value"])
    return Answer(succeeded=True, revision=body["revision"], seen=(Seen(existed=existed, value=value), put))


def _problem(status: int, body: bytes) -> dict[str, Any]:
    try:
        problem = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BrokenPromise(f"{status} without problem details: {body[:200]!r}") from error
    if not isinstance(problem, dict):
        raise BrokenPromise(f"{status} without problem details: {body[:200]!r}")
    return problem


def _value(key: str, body: bytes) -> str:
    return str(orjson.loads(body)["value"]) if key.startswith(_DOCUMENT) else body.decode()


def _transaction_answer(request: Request, body: dict[str, Any]) -> Answer:
    steps = request.then if body["succeeded"] else request.otherwise
    results = body["results"]
    if len(results) != len(steps):
        raise BrokenPromise(f"{len(results)} results for {len(steps)} steps: {request}")
    seen = tuple(_seen(step, result) for step, result in zip(steps, results, strict=True))
    return Answer(body["succeeded"], body["revision"], seen)


def _seen(step: Step, result: dict[str, Any]) -> Seen:
    if step.action == "put":
        return Seen(existed=not result["created"])
    if step.action == "delete":
        return Seen(existed=result["deleted"])
    if result["revision"] == 0:
        return Seen(existed=False)
    document = step.key.startswith(_DOCUMENT)
    if "document" not in result and "value" not in result:
        return Seen(existed=True, revision=result["revision"])  # a replay, which does not hold values
    value = str(result["document"]["value"]) if document else base64.b64decode(result["value"]).decode()
    return Seen(existed=True, value=value, revision=result["revision"])
