"""The OpenAPI 3.1 document of a URL table."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import orjson

from collectionstore_node import __version__
from collectionstore_node.access.bodies import ROLE_NAME, USER_NAME
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.names import LOCK_NAME
from collectionstore_node.api.http.options import FORMATS, IMPORT_ERRORS_MAX, IMPORT_MODES, MODES, Ack
from collectionstore_node.api.http.problems import KINDS
from collectionstore_node.api.http.router import Route
from collectionstore_node.api.openapi.answers import ProblemDetails
from collectionstore_node.api.openapi.operations import OPERATIONS, Operation, Optional, Shape
from collectionstore_node.service import StoreLimits
from collectionstore_node.service.access import TOKEN_ID
from collectionstore_node.service.lives import TTL
from collectionstore_node.service.operations import IDEMPOTENCY_KEY, NAME
from collectionstore_node.service.tickets import CHARACTERS_MAX as TICKET_CHARACTERS_MAX

PROBLEM: Final = "application/problem+json"
_JSON: Final = "application/json"
_REF: Final = "#/components/schemas/{name}"
_DURATION: Final = r"^[0-9]{1,6}(\.[0-9]{1,3})?(ms|s)$"
_LIMITS: Final = HttpLimits()
_STORE: Final = StoreLimits()

_NAME: Final = {"type": "string", "pattern": f"^{NAME.pattern}$"}
_USER: Final = {"type": "string", "pattern": f"^{USER_NAME.pattern}$"}

_PARAMETERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "timeout": ("The deadline of the whole request, 1ms to 60s.", {"type": "string", "pattern": _DURATION}),
    "redirect": ("Whether a member that does not lead answers 307.", {"type": "string", "enum": ["false", "true"]}),
    "consistency": (
        "Whether the read sees every write acknowledged before it.",
        {"type": "string", "enum": ["linearizable", "stale"]},
    ),
    "max_staleness": (
        "With consistency=stale: how old the state may be, 1ms to 3600s.",
        {"type": "string", "pattern": _DURATION},
    ),
    "min_revision": (
        "The read waits until the member has applied this revision, and is of it or a later one.",
        {"type": "integer", "minimum": 1},
    ),
    "at_revision": (
        "The read is of the state at exactly this revision; 410 if what was changed since is not kept any more.",
        {"type": "integer", "minimum": 1},
    ),
    "prefix": ("What names begin with.", {"type": "string"}),
    "limit": ("Items of a page.", {"type": "integer", "minimum": 1, "maximum": _STORE.list_items_max}),
    "cursor": ("`next_cursor` of the page before.", {"type": "string"}),
    "filter": ("A filter as JSON.", {"type": "string"}),
    "sort": ("Paths by importance; with a minus descending.", {"type": "string"}),
    "fields": ("Paths to show.", {"type": "string"}),
    "values": ("Whether the page has the values.", {"type": "string", "enum": ["false", "true"]}),
    "when": ("A filter as JSON that the document must match.", {"type": "string"}),
    "array_filters": ("A JSON list of filters of elements, for `$[name]` in paths.", {"type": "string"}),
    "upsert": ("Whether a document that is absent is created.", {"type": "string", "enum": ["false", "true"]}),
    "return": ("Which state of the document is answered.", {"type": "string", "enum": ["before", "after"]}),
    "ack": ("When the write is answered.", {"type": "string", "enum": [one.value for one in Ack]}),
    "mode": ("How the lines are carried out.", {"type": "string", "enum": list(MODES)}),
    "hint": ("The index to use, or `scan` for none.", {"type": "string"}),
    "format": ("NDJSON or CSV; the Accept header says it, too.", {"type": "string", "enum": list(FORMATS)}),
    "after_id": ("The ID behind which to begin.", {"type": "string"}),
    "types": ("The types of columns, as in `age:number,name:string`.", {"type": "string"}),
    "max_errors": (
        "Lines that may fail before the import ends.",
        {"type": "integer", "minimum": 0, "maximum": IMPORT_ERRORS_MAX},
    ),
    "skip": ("Lines at the beginning that are not applied.", {"type": "integer", "minimum": 0}),
    "progress": ("Whether lines say how far it has come.", {"type": "string", "enum": ["false", "true"]}),
    "trailer": ("Whether the body must end with its trailer.", {"type": "string", "enum": ["optional", "required"]}),
    "ttl": (
        "How long it is there: a whole number with ms, s, m, h or d; `none` for ever.",
        {"type": "string", "pattern": f"^({TTL.pattern}|none)$"},
    ),
    "lease": ("The lease with which it goes.", {"type": "integer", "minimum": 1}),
    "after": ("The index in the log behind which to read.", {"type": "integer", "minimum": 0}),
    "from": ("Where the watch begins: now, snapshot, a revision, or a token.", {"type": "string"}),
    "ops": ("The kinds of changes, with commas between them.", {"type": "string"}),
    "before": ("Whether events have the document before the change.", {"type": "string", "enum": ["false", "true"]}),
    "wait": ("Answer one page, and wait so long for events; 0s to 60s.", {"type": "string", "pattern": _DURATION}),
    "consumer": ("The consumer that the watch is of.", _NAME),
    "missing": (
        "Whether a role may name collections that do not exist.",
        {"type": "string", "enum": ["refuse", "allow"]},
    ),
    "user": ("The user whose tokens are listed.", _USER),
    "seconds": ("How long to sample.", {"type": "integer", "minimum": 1, "maximum": _LIMITS.profile_seconds_max}),
}

_PARAMETERS_OF: Final[dict[tuple[str, str], tuple[str, dict[str, Any]]]] = {
    ("/api/v1/collections/{collection}:import", "mode"): (
        "What becomes of documents that exist.",
        {"type": "string", "enum": list(IMPORT_MODES)},
    ),
}
"""Those that mean something else on a route."""

_HEADERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "If-Match": ("Only if the target has one of these revisions, or exists: `*`.", {"type": "string"}),
    "If-None-Match": ("Only if it has none of them, or does not exist: `*`.", {"type": "string"}),
    "Last-Event-ID": ("The token to go on from; comes before `from`.", {"type": "string"}),
    "Idempotency-Key": (
        "A repeated request with the same key is applied once.",
        {"type": "string", "pattern": f"^{IDEMPOTENCY_KEY.pattern}$"},
    ),
}

_TEXT: Final = {"type": "string", "minLength": 1, "maxLength": _LIMITS.key_bytes_max}
_ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "collection": _NAME,
    "bucket": _NAME,
    "name": _NAME,
    "id": _TEXT,
    "key": _TEXT,
    "lease": {"type": "integer", "minimum": 1},
    "lock": {"type": "string", "pattern": f"^{LOCK_NAME.pattern}$"},
    "user": _USER,
    "role": {"type": "string", "pattern": f"^{ROLE_NAME.pattern}$"},
    "token": {"type": "string", "pattern": f"^{TOKEN_ID.pattern}$"},
    "ticket": {"type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": TICKET_CHARACTERS_MAX},
}

_INFORMATION: Final = """Documents and values, replicated by Raft.

Every member accepts every request. Answers carry the revision of the state that they include. Errors are problem
details (RFC 9457) with a stable `code`, and with what is known of the request's outcome. Every GET has a HEAD.
"""


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """Return the document. Raises `KeyError` for a route that `OPERATIONS` does not describe."""
    found = [(route, OPERATIONS[route.method, route.pattern]) for route in routes]
    schemas = _Schemas(found)
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in found:
        path = route.pattern.replace("...}", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Collection Store",
            "version": __version__,
            "description": _INFORMATION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(operation.tag for _, operation in found)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": {
                "Problem": {
                    "description": "What failed, and what is known of the outcome.",
                    "content": {PROBLEM: {"schema": schemas.of(ProblemDetails)}},
                }
            },
        },
    }


class _Schemas:
    """The schemas of all bodies and answers."""

    def __init__(self, found: list[tuple[Route, Operation]]) -> None:
        shapes: list[Shape] = [ProblemDetails]
        for _, operation in found:
            for shape in (operation.body, *operation.answers.values()):
                shapes += _parts(shape)
        self._shapes = shapes
        schemas, components = msgspec.json.schema_components(shapes, ref_template=_REF)
        self._schemas = schemas
        # As JSON has it: a default that is a tuple is a list there.
        self.components: dict[str, Any] = orjson.loads(orjson.dumps(components))
        self.components["ProblemDetails"]["properties"]["code"]["enum"] = sorted(KINDS)

    def of(self, shape: Shape) -> dict[str, Any]:
        """Return the schema of a shape."""
        if isinstance(shape, tuple):
            return {"anyOf": list(map(self.of, shape))}
        return self._schemas[self._shapes.index(shape)]

    def content(self, shape: Shape) -> dict[str, Any]:
        """Return the media types of a body or an answer."""
        if shape is None:
            return {}
        if isinstance(shape, dict):
            of = self.of
            return {"content": {kind: {} if one is None else {"schema": of(one)} for kind, one in shape.items()}}
        if isinstance(shape, str):
            # Of bytes and texts there is nothing to say but their type.
            return {"content": {shape: {}}}
        return {"content": {_JSON: {"schema": self.of(shape)}}}


def _parts(shape: Shape) -> list[Shape]:
    """Return what of a shape has a schema."""
    if isinstance(shape, Optional):
        return _parts(shape.shape)
    if shape is None or isinstance(shape, str):
        return []
    if isinstance(shape, dict):
        return [one for one in shape.values() if one is not None]
    return list(shape) if isinstance(shape, tuple) else [shape]


def _operation(route: Route, operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    summary = (route.handler.__doc__ or "").strip().partition("\n")[0]
    described: dict[str, Any] = {
        "operationId": _identifier(route),
        "tags": [operation.tag],
        "summary": summary,
        "parameters": [
            *(_parameter("path", name, "", _ARGUMENTS[name]) for name in re.findall(r"\{(\w+)", route.pattern)),
            *(
                _parameter("query", name, *_PARAMETERS_OF.get((route.pattern, name), _PARAMETERS[name]))
                for name in sorted(route.parameters)
            ),
            *(_parameter("header", name, *_HEADERS[name]) for name in sorted(operation.headers)),
        ],
        "responses": {
            **{
                str(status): {"description": _ANSWERS[status], **schemas.content(shape)}
                for status, shape in operation.answers.items()
            },
            **(_MOVED if "redirect" in route.parameters else {}),
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    body = operation.body
    if isinstance(body, Optional):
        described["requestBody"] = {"required": False, **schemas.content(body.shape)}
    elif body is not None:
        described["requestBody"] = {"required": True, **schemas.content(body)}
    return described


_MOVED: Final = {"307": {"description": "The leader's URL is in `Location`."}}
_ANSWERS: Final = {
    101: "The connection is a WebSocket now.",
    200: "Done, or what was asked for.",
    201: "Created.",
    202: "Taken; its outcome is not known.",
    207: "Not all lines succeeded; each has its own status.",
    304: "It has not changed.",
}


def _parameter(where: str, name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "in": where, "schema": schema}
    if description:
        found["description"] = description
    return {**found, "required": True} if where == "path" else found


def _identifier(route: Route) -> str:
    words = re.findall(r"[A-Za-z]+", route.pattern.removeprefix("/api/v1"))
    return "_".join((route.method.lower(), *words)) or "get"
