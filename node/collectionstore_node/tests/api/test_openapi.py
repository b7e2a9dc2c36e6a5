"""The OpenAPI document describes what the server does: every route, valid, and by what it answers."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator
from typing import Any, cast

import orjson
import pytest
import requests
import schemathesis
from aiohttp import web
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import CHECKS

from collectionstore_node import __version__
from collectionstore_node.api import make_client_server
from collectionstore_node.api.http.call import Handler
from collectionstore_node.api.http.problems import KINDS
from collectionstore_node.api.http.router import Route
from collectionstore_node.api.openapi import describe, described
from collectionstore_node.api.openapi.operations import OPERATIONS
from collectionstore_node.api.stream.endpoint import StreamEndpoint
from collectionstore_node.api.url_table import CLIENT, DEBUG, PROBES
from collectionstore_node.changes import Position, Tokens
from collectionstore_node.service import Store
from collectionstore_node.service.tickets import Ticket, show_ticket
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing

STREAM = Route("GET", "/api/v1/stream", cast(Handler, StreamEndpoint.open), frozenset())
ROUTES = described((*CLIENT, STREAM, *PROBES, *DEBUG))
DOCUMENT = describe(ROUTES)


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_route_is_described_and_no_other() -> None:
    """A route without a line in `OPERATIONS` fails here, and would fail the whole document."""
    assert {(route.method, route.pattern) for route in ROUTES} == set(OPERATIONS)


def test_the_document_says_what_the_table_says() -> None:
    for route in ROUTES:
        operation = DOCUMENT["paths"][route.pattern.replace("...}", "}")][route.method.lower()]
        given_names = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
        assert given_names == route.parameters, route.pattern
        assert operation["summary"].endswith((".", ";")) or len(operation["summary"]) > 20, route.pattern
    names = [one["operationId"] for methods in DOCUMENT["paths"].values() for one in methods.values()]
    assert len(names) == len({*names}) == len(ROUTES)


def test_problems_have_all_codes() -> None:
    assert DOCUMENT["components"]["schemas"]["ProblemDetails"]["properties"]["code"]["enum"] == sorted(KINDS)


async def test_the_server_serves_its_own_description(client: Client) -> None:
    reply = await client.get("/openapi.json")

    assert reply.status == 200
    assert reply.json == DOCUMENT


async def test_the_index_names_what_answers(client: Client) -> None:
    reply = await client.get("/")

    assert reply.json["name"] == "Collection Store"
    assert (reply.json["version"], reply.json["member"]) == (__version__, "shop-0")
    for target in reply.json["links"].values():
        assert (await client.get(target)).status == 200, target


async def test_the_page_takes_nothing_from_another_host(client: Client) -> None:
    page = await client.get("/docs")
    policy = page.headers["Content-Security-Policy"]
    used = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert sorted({*used}) == ["/docs/page.css", "/docs/page.js", "/openapi.json"]
    for target in used:
        part = await client.get(target)
        assert part.status == 200
        assert b"//" not in re.sub(rb"^ *//.*$", b"", part.body, flags=re.MULTILINE) or target == "/openapi.json"
    # What a policy without `unsafe-inline` would not run.
    assert "<style" not in page.body.decode()
    assert not re.search(r"<script(?![^>]*src=)|\son[a-z]+=", page.body.decode())


# Every route, with requests made from the document


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server over a replica in memory, on a loop in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def start() -> web.ServerRunner:
        server = make_client_server(
            Store(MemoryReplica(), STORE_LIMITS),
            LIMITS,
            RecordedMetrics(),
            render_metrics=render_nothing,
            authorize_admin=Admins().authorize,
            tls=False,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    runner = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@schemathesis.serializer("application/x-ndjson", "text/csv")
def _lines(_context: object, value: object) -> bytes:
    return value if isinstance(value, bytes) else orjson.dumps(value, default=str)


SCHEMA: Any = schemathesis.openapi.from_dict(DOCUMENT)
TARGETS = [
    pytest.param(path, method, id=f"{method.upper()} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
]
LATE = {"read_timeout", "revision_not_reached", "overloaded", "outcome_unknown", "not_ready"}
"""What a random deadline of a millisecond may end with."""


WANTED = {"status_code_conformance", "content_type_conformance", "response_schema_conformance"}
EXCLUDED = [check for check in CHECKS.get_all() if check.__name__ not in WANTED]

KNOWN: dict[str, Any] = {
    "collection": "people",
    "id": "ada",
    "name": "by_name",
    "bucket": "greetings",
    "key": "hello",
    "ticket": show_ticket(Ticket(1, "a-key", bytes(32), 0, 0)),
    "lock": "job",
    "user": "ada",
    "role": "helpers",
}
BODIES: dict[str, Any] = {
    "post_collections": {"name": "cities"},
    "put_debug_log_level": {"level": "info"},
    "post_collections_collection_distinct": {"field": "name"},
    "post_collections_collection_aggregate": {"pipeline": [{"$count": "n"}], "explain": True},
    "post_collections_collection_find": {"filter": {"name": "Ada"}, "explain": True},
    "post_transactions_commit": {"reads": [{"collection": "people", "id": "nobody", "revision": 0}]},
    "post_transactions": {"then": [{"op": "get", "collection": "people", "id": "ada"}]},
    "post_cluster_members": {"action": "add", "node_id": "00000000000000c3", "name": "c", "address": "c:1"},
    "post_cluster_bootstrap": {"epoch": 1},
    "patch_collections_collection_documents_id": {"$set": {"name": "Ada"}},
    "post_collections_collection_update": {"filter": {"name": "Ada"}, "merge_patch": {"born": 1815}},
    "post_collections_collection_delete": {"filter": {"name": "Ada"}},
    "post_collections_collection_findAndModify": {"filter": {}, "update": {"$inc": {"n": 1}}, "return": "after"},
    "post_collections_collection_export": {"filter": {"name": "Ada"}, "fields": ["name"]},
    "post_collections_collection_import": b'{"_id":"grace","name":"Grace"}\n',
    "post_collections_collection_bulk": b'{"op":"put","id":"alan","document":{}}\n',
    "post_collections_collection_indexes": {"name": "by_born", "fields": {"born": 1}},
    "post_collections_collection_validate": {"schema": {"document": {"type": "object"}}},
    "put_kv_bucket_key": b"world",
    "post_consumers_name_ack": {"token": Tokens("shop").encode(Position(1))},
    "post_collections_collection_touch": {"id": "ada", "ttl": "90s"},
    "post_kv_bucket_touch": {"key": "hello", "ttl": "none"},
    "post_leases": {"ttl": "90s"},
    "put_access": {"mode": "Permissive", "anonymous_roles": ["reader"]},
    "put_roles_role": {"rules": [{"verbs": ["read"], "collections": ["people"], "fields": {"hide": ["pay"]}}]},
    "post_tokens": {"user": "ada", "ttl": "1h"},
    "post_locks_lock_acquire": {"owner": "me", "ttl": "90s"},
}
PAGE: dict[str, Any] = {"query": {"wait": "0s"}}
"""Without it the answer of a watch has no end."""
INDEX: Any = {"name": KNOWN["name"], "fields": {"name": 1}}
UNANSWERED = {"/api/v1/stream": 426, "/debug/profile": 403}
"""What has no answer here but a problem: this is no handshake of a WebSocket, and there is no profiler."""


def _seed(url: str, path: str) -> None:
    for target, body in (("people", b""), ("people/documents/ada", b'{"name":"Ada"}')):
        headers = {"Content-Type": "application/json"}
        assert requests.put(f"{url}/api/v1/collections/{target}", body, headers=headers, timeout=20).status_code < 300
    index = requests.post(f"{url}/api/v1/collections/people/indexes", json=INDEX, timeout=20)
    assert index.status_code in (201, 409), index.text
    assert requests.put(f"{url}/api/v1/kv/greetings/hello", b"world", timeout=20).status_code < 300
    consumer = requests.put(f"{url}/api/v1/consumers/{KNOWN['name']}", json={}, timeout=20)
    assert consumer.status_code in (200, 201, 409), consumer.text
    KNOWN["lease"] = requests.post(f"{url}/api/v1/leases", json={"ttl": "1h"}, timeout=20).json()["id"]
    for target in ("users/ada", "roles/helpers"):
        assert requests.put(f"{url}/api/v1/{target}", json={}, timeout=20).status_code < 300
    tokens = requests.get(f"{url}/api/v1/tokens?user=ada", timeout=20).json()["tokens"]
    made = tokens[0] if tokens else requests.post(f"{url}/api/v1/tokens", json=BODIES["post_tokens"], timeout=20).json()
    KNOWN["token"] = made["id"]
    lock = f"{url}/api/v1/locks/job"
    assert requests.post(f"{lock}:release", json={"force": True}, timeout=20).status_code in (200, 409)
    if not path.endswith(":acquire"):
        token = requests.post(f"{lock}:acquire", json={"owner": "me", "ttl": "90s"}, timeout=20).json()["token"]
        BODIES["post_locks_lock_renew"] = {"token": token, "ttl": "90s"}
        BODIES["post_locks_lock_release"] = {"token": token}


@pytest.mark.parametrize(("path", "method"), TARGETS)
def test_a_plain_request_is_answered_as_described(url: str, path: str, method: str) -> None:
    _seed(url, path)
    operation = SCHEMA[path][method]
    described_operation = DOCUMENT["paths"][path][method]
    names = {one["name"]: KNOWN[one["name"]] for one in described_operation["parameters"] if one["in"] == "path"}
    given_body: dict[str, Any] = {}
    if "requestBody" in described_operation:
        given_body = {
            "body": BODIES.get(described_operation["operationId"], {}),
            "media_type": next(iter(described_operation["requestBody"]["content"])),
        }

    case = operation.Case(path_parameters=names, **given_body, **(PAGE if path.endswith(":watch") else {}))
    response = case.call(base_url=url, timeout=20)

    assert response.status_code == UNANSWERED.get(path, response.status_code)
    assert response.status_code < 300 or path in UNANSWERED, response.text
    assert str(response.status_code) in described_operation["responses"] or path in UNANSWERED
    case.validate_response(response, excluded_checks=EXCLUDED)


@pytest.mark.parametrize(("path", "method"), TARGETS)
def test_an_odd_request_is_answered_as_described(url: str, path: str, method: str) -> None:
    """By status, media type and body; and none is an error of the server."""
    _seed(url, path)

    @settings(
        max_examples=8,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=SCHEMA[path][method].as_strategy(), real=st.booleans())
    def ask(case: Any, real: bool) -> None:  # noqa: FBT001 - hypothesis names it
        if real:
            # Random names are those of nothing.
            case.path_parameters = {name: KNOWN[name] for name in case.path_parameters or {}}
        if path.endswith(":watch"):
            case.query = {**(case.query or {}), **PAGE["query"]}
        if {"min_revision", "at_revision"} & set(case.query or ()):
            # Random revisions never come, and are waited for.
            case.query["timeout"] = "20ms"
        response = case.call(base_url=url, timeout=20)
        if response.status_code >= 500:
            assert response.json()["code"] in LATE
        case.validate_response(response, excluded_checks=EXCLUDED)

    ask()
