"""Every route and every operation of a stream, by every built-in role and by roles of single verbs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.current import calling
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.verbs import VERBS_OF, Kind
from collectionstore_node.api import make_client_server
from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.dispatcher import Dispatcher
from collectionstore_node.api.http.router import Route
from collectionstore_node.api.openapi import described
from collectionstore_node.api.stream.operations import KINDS, UNKNOWN
from collectionstore_node.api.url_table import CLIENT, DEBUG, PAGES, PROBES
from collectionstore_node.service import Store, StoreLimits, door
from collectionstore_node.service.operations import DocumentRef, KeyRef, Put
from collectionstore_node.statemachine.access_commands import PutRole
from collectionstore_node.statemachine.commands import Command, CreateCollection, GrantLease
from collectionstore_node.tests.api.access_rules import ROUTES, STREAM, Need, Rule
from collectionstore_node.tests.api.conftest import LIMITS
from collectionstore_node.tests.api.http_clients import JSON, Client, Reply
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics, render_nothing
from collectionstore_node.tests.api.stream.stream_clients import StreamClient, connect

ROLES = "X-Test-Roles"
USER = "X-Test-User"
EVERY_NEED = [(verb, kind) for kind in Kind for verb in sorted(VERBS_OF[kind])]


def all_routes() -> list[Route]:
    """Return the routes of both ports."""
    stream = Route("GET", "/api/v1/stream", None, frozenset())  # type: ignore[arg-type]  # only its name counts
    return [*described((*CLIENT, stream, *PROBES, *DEBUG)), *PAGES]


def test_every_route_has_a_rule() -> None:
    assert {(route.method, route.pattern) for route in all_routes()} - ROUTES.keys() == set()


def test_every_operation_of_a_stream_has_a_rule() -> None:
    assert set(KINDS.values()) - {UNKNOWN} == STREAM.keys()


def role_of(needs: Iterable[Need]) -> bytes:
    """Return the body of a role that allows just these."""
    rules: list[dict[str, Any]] = []
    for verb, kind in sorted(needs):
        names: dict[str, Any] = {"cluster": True}
        if kind is not Kind.CLUSTER:
            names = {f"{kind.value}s": ["people" if kind is Kind.COLLECTION else "b"]}
        rules.append({"verbs": [verb.value], **names})
    return orjson.dumps({"rules": rules})


def built_in(name: str) -> frozenset[Need]:
    """Return what a built-in role allows, from its rules alone."""
    found: set[Need] = set()
    for rule in BUILT_IN[name].rules:
        named = {Kind.COLLECTION: rule.collections, Kind.BUCKET: rule.buckets, Kind.CLUSTER: rule.cluster}
        for kind, given in named.items():
            found |= {(verb, kind) for verb in VERBS_OF[kind] if given and (verb in rule.verbs or "*" in rule.verbs)}
    return frozenset(found)


class Matrix:
    """A store that is filled anew for each request, and a port of it whose requests name their roles."""

    def __init__(self) -> None:
        self.replica = MemoryReplica()
        self.store = Store(self.replica, StoreLimits(), access=Mode.ENFORCED)
        self._roles: dict[frozenset[Need], str] = {}

    async def fill(self) -> None:
        for action in (
            CreateCollection("people"),
            Put(DocumentRef("people", "x"), b'{"n":1}'),
            Put(KeyRef("b", "k"), b"v"),
            GrantLease(60_000),
        ):
            await self.replica.propose(Command(action), timeout_s=1)

    async def role(self, needs: frozenset[Need]) -> str:
        """Return the name of a role that allows just these."""
        if needs not in self._roles:
            name = f"r{len(self._roles)}"
            outcome = await self.replica.propose(Command(PutRole(name, role_of(needs), missing=True)), timeout_s=1)
            assert outcome.code == 0, outcome
            self._roles[needs] = name
        return self._roles[needs]


@pytest.fixture
async def matrix() -> Matrix:
    made = Matrix()
    await made.fill()
    return made


@pytest.fixture
async def client(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    handle = Dispatcher.handle

    async def handled(self: Dispatcher, request: web.BaseRequest) -> Answer:
        roles = tuple(filter(None, request.headers.get(ROLES, "").split(",")))
        with calling(Caller(request.headers.get(USER, "user"), Method.TOKEN, roles)):
            return await handle(self, request)

    monkeypatch.setattr(Dispatcher, "handle", handled)
    server = make_client_server(
        matrix.store,
        LIMITS,
        RecordedMetrics(),
        render_metrics=render_nothing,
        authorize_admin=Admins().authorize,
        tls=False,
        hot=False,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield Client(session, runner.addresses[0][1])
    await runner.cleanup()
    matrix.store.queries.close()


def refused(reply: Reply) -> bool:
    """Whether a request was refused for its rights, as a whole or in each of its lines."""
    if reply.status == 207:
        results = reply.json.get("results")  # an import has none: it counts its lines
        return bool(results) and all(one.get("code") == "forbidden" for one in results)
    return reply.status == 403 and reply.json["code"] == "forbidden"


async def send(client: Client, route: tuple[str, str], rule: Rule, *roles: str) -> Reply:
    method, pattern = route
    headers = {ROLES: ",".join(roles)} | (rule.headers or (JSON if rule.body[:1] == b"{" else {}))
    reply = await client.send(method, rule.path or pattern, rule.body, headers)
    if reply.status == 403 and not refused(reply):
        assert reply.json["code"] == "profiling_disabled"
    return reply


TABLE = {(route.method, route.pattern) for route in (*CLIENT, *DEBUG)}
ASKED = [(route, rule) for route, rule in ROUTES.items() if rule.ways is not None and route in TABLE]


def _name(route: tuple[str, str]) -> str:
    return f"{route[0]} {route[1]}"


@pytest.mark.parametrize(("route", "rule"), [pytest.param(*one, id=_name(one[0])) for one in ASKED])
async def test_a_route_needs_what_its_rule_says_and_no_less(
    client: Client, matrix: Matrix, route: tuple[str, str], rule: Rule
) -> None:
    assert rule.ways is not None
    ways = rule.ways

    async def allows(needs: frozenset[Need]) -> bool:
        await matrix.fill()
        return not refused(await send(client, route, rule, await matrix.role(needs)))

    for way in ways:
        assert await allows(way), f"{sorted(way)} is not enough"
        for one in way:
            less = way - {one}
            assert await allows(less) is any(other <= less for other in ways), f"without {one}"
    everything_else = frozenset(EVERY_NEED) - frozenset().union(*ways)
    assert await allows(everything_else) is (frozenset() in ways), "something else is enough"
    for name in BUILT_IN:
        await matrix.fill()
        expected = any(way <= built_in(name) for way in ways)
        assert refused(await send(client, route, rule, name)) is not expected, name
    await matrix.fill()
    assert refused(await send(client, route, rule)) is (frozenset() not in ways), "no role at all"


class Calling:
    """Stands for the caller of whatever runs: who that is in a stream, authentication decides."""

    def __init__(self, *roles: str) -> None:
        self._caller = Caller("user", Method.TOKEN, roles)

    def get(self) -> Caller:
        return self._caller


@pytest.mark.parametrize("op", STREAM)
async def test_an_operation_of_a_stream_needs_what_its_rule_says(
    matrix: Matrix, op: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs, fields = STREAM[op]
    everything_else = frozenset(EVERY_NEED) - needs
    cases: list[tuple[tuple[str, ...], bool]] = [((await matrix.role(needs),), True)]
    cases += [((await matrix.role(needs - {one}),), False) for one in needs]
    cases.append(((await matrix.role(everything_else),), not needs))
    cases += [((name,), needs <= built_in(name)) for name in BUILT_IN]
    cases.append(((), not needs))
    for roles, expected in cases:
        await matrix.fill()
        monkeypatch.setattr(door, "CALLER", Calling(*roles))
        answer = await _asked(matrix, op, fields)
        told = answer.get("body") or {}
        results = told.get("results") if answer["status"] == 207 else None
        code = results[0].get("code") if results else told.get("code")
        assert (code == "forbidden") is not expected, (roles, answer)
        if not expected:
            assert (results[0] if results else answer)["status"] == 403
    matrix.store.queries.close()


async def _asked(matrix: Matrix, op: str, fields: dict[str, Any]) -> dict[str, Any]:
    server = make_client_server(
        matrix.store,
        LIMITS,
        RecordedMetrics(),
        render_metrics=render_nothing,
        authorize_admin=Admins().authorize,
        tls=False,
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            stream: StreamClient = await connect(session, runner.addresses[0][1])
            answer = await stream.ask(op, **fields)
            await stream.close()
            return answer
    finally:
        await runner.cleanup()


async def test_a_cursor_of_another_user_is_none(client: Client, matrix: Matrix) -> None:
    await matrix.replica.propose(Command(Put(DocumentRef("people", "y"), b'{"n":2}')), timeout_s=1)
    for path, body in (
        ("/api/v1/collections/people/documents?limit=1", None),
        ("/api/v1/collections/people:find", {"limit": 1}),
    ):

        async def page(user: str, cursor: str | None = None, path: str = path, body: Any = body) -> Reply:
            headers = {ROLES: "reader", USER: user}
            if body is None:
                return await client.send("GET", path + (f"&cursor={cursor}" if cursor else ""), None, headers)
            asked = orjson.dumps(body | ({"cursor": cursor} if cursor else {}))
            return await client.send("POST", path, asked, headers | JSON)

        cursor = (await page("ann")).json["next_cursor"]
        assert (await page("ann", cursor)).json["documents"][0]["id"] == "y"
        assert (await page("eve", cursor)).json["code"] == "invalid_cursor"


async def test_what_is_refused_tells_nothing_of_what_is_there(client: Client, matrix: Matrix) -> None:
    """The same answer for a collection, a document, an index that exists and for one that does not."""

    async def told(path: str, name: str) -> dict[str, Any]:
        reply = await client.send("GET", path, None, {ROLES: "monitor"})
        assert reply.status == 403
        return {key: value for key, value in reply.json.items() if key not in ("instance", "request_id")}

    for ending in ("", "/documents/x", "/documents", "/indexes/i", ":export"):
        there = await told(f"/api/v1/collections/people{ending}", "people")
        nowhere = await told(f"/api/v1/collections/nowhere{ending}", "nowhere")
        assert {**there, "detail": ""} == {**nowhere, "detail": ""}
        assert there["detail"].replace("people", "") == nowhere["detail"].replace("nowhere", "")
        assert there["outcome"] == "not_applied"
