"""Who gets in on the client port, with which credential, and how long what is open stays so."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from collectionstore_node.access.modes import Mode
from collectionstore_node.api import ApiServer, make_client_server, make_probe_server
from collectionstore_node.api.http import guard as guards_module
from collectionstore_node.api.stream.websocket import Close
from collectionstore_node.errors import NotNow, StorageFailed
from collectionstore_node.service import Store
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS, _render
from collectionstore_node.tests.api.guards import AS_OWNER, OWNER, Watched
from collectionstore_node.tests.api.http_clients import JSON, Client, RawClient, Reply, read_head
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics
from collectionstore_node.tests.api.stream.stream_clients import StreamClient, connect
from collectionstore_node.tests.api.watch_clients import WatchClients
from collectionstore_node.tests.authn.issuers import AUDIENCE, NOW, URL, claims, token
from collectionstore_node.tests.authn.test_key_sources import KEYS_URL

ADA = "/api/v1/collections/people/documents/ada"


@pytest.fixture
async def store(replica: MemoryReplica) -> Store:
    return Store(replica, STORE_LIMITS, access=Mode.ENFORCED)


@pytest.fixture
async def watched(store: Store) -> AsyncIterator[Watched]:
    found = Watched(store)
    yield found
    found.authenticator.passwords.close()


@pytest.fixture
async def server(
    store: Store,
    metrics: RecordedMetrics,
    admins: Admins,
    watched: Watched,
    hot: bool,  # noqa: FBT001 - a fixture
    monkeypatch: pytest.MonkeyPatch,
) -> ApiServer:
    # What lasts is looked at in every turn of the loop that has time: a test waits for events, not for a clock.
    monkeypatch.setattr(guards_module, "SWEEP_S", 0.001)
    return make_client_server(
        store,
        LIMITS,
        metrics,
        render_metrics=_render,
        authorize_admin=admins.authorize,
        tls=False,
        hot=hot,
        guard=watched.guard,
    )


class Connection:
    """One connection, on which requests are sent as bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, *requests: bytes) -> list[int]:
        """Send requests at once, and return the statuses of their answers."""
        self._writer.write(b"".join(requests))
        found = []
        for _ in requests:
            head = (await read_head(self._reader)).decode()
            length = next(line for line in head.split("\r\n") if line.lower().startswith("content-length:"))
            await self._reader.readexactly(int(length.partition(":")[2]))
            found.append(int(head.split(" ")[1]))
        return found


@pytest.fixture
async def connection(raw: RawClient) -> AsyncIterator[Connection]:
    reader, writer = await raw.connect()
    yield Connection(reader, writer)
    writer.close()


class Members:
    """Makes users and tokens, as the owner of the cluster."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def send(self, method: str, target: str, body: object = None, status: int = 200) -> Any:
        text = None if body is None else orjson.dumps(body)
        reply = await self.client.send(method, target, text, AS_OWNER | (JSON if text is not None else {}))
        assert reply.status in (status, 201), reply.body
        return reply.json if reply.body else None

    async def user(self, name: str, **fields: Any) -> None:
        await self.send("PUT", f"/api/v1/users/{name}", {"roles": ["admin"], **fields})

    async def token(self, name: str, **fields: Any) -> tuple[str, str]:
        """Return the ID of a new token, and the header that shows it."""
        made = await self.send("POST", "/api/v1/tokens", {"user": name, "ttl": "none", **fields})
        return made["id"], f"Bearer {made['token']}"

    async def revoke(self, token_id: str) -> None:
        await self.send("DELETE", f"/api/v1/tokens/{token_id}")

    async def configure(self, **fields: Any) -> None:
        await self.send("PUT", "/api/v1/access", {"mode": "Enforced", **fields})


@pytest.fixture
async def members(client: Client) -> Members:
    found = Members(client)
    await found.send("PUT", "/api/v1/collections/people")
    await found.send("PUT", ADA, {"name": "Ada"})
    await found.user("ada")
    return found


def refused(reply: Reply) -> dict[str, Any]:
    """Check an answer to a request without a valid credential."""
    fields = reply.problem(401, "unauthorized")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer ")
    assert fields["outcome"] == "not_applied"
    assert not fields["retryable"]
    return fields


async def whoami(client: Client, header: str) -> tuple[str, str]:
    found = (await client.get("/api/v1/whoami", Authorization=header)).json
    return found["user"], found["method"]


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


# Requests


async def test_nobody_gets_in_without_a_credential(client: Client, members: Members) -> None:
    for method, target in (
        ("GET", ADA),
        ("PUT", ADA),
        ("GET", "/api/v1/kv/b/k"),
        ("GET", "/api/v1/collections"),
        ("POST", "/api/v1/transactions"),
        ("GET", "/api/v1/collections/people:watch"),
        ("GET", "/api/v1/collections/people:export"),
        ("GET", "/api/v1/stream"),
        ("GET", "/api/v1/cluster"),
        ("GET", "/api/v1/backup/state"),
        ("GET", "/api/v1/users"),
        ("GET", "/metrics"),
        ("GET", "/status"),
        ("GET", "/debug/raft"),
    ):
        refused(await client.send(method, target, b"{}" if method in ("PUT", "POST") else None))


async def test_probes_and_pages_without_data_stay_open(client: Client, members: Members) -> None:
    for target in ("/livez", "/readyz", "/health", "/", "/openapi.json", "/docs", "/docs/page.css"):
        assert (await client.get(target)).status == 200, target


async def test_a_token_gets_in_again_and_again(client: Client, members: Members, watched: Watched) -> None:
    _, header = await members.token("ada")
    for _ in range(3):
        assert (await client.get(ADA, Authorization=header)).json == {"name": "Ada"}
        assert (await client.put(ADA, {"name": "Ada"}, Authorization=header)).status == 200
    assert await whoami(client, header) == ("ada", "token")


async def test_wrong_credentials_are_refused_with_the_same_words(client: Client, members: Members) -> None:
    token_id, header = await members.token("ada")
    await members.send("PUT", "/api/v1/users/ada/password", {"password": "correct horse"})
    answers = []
    for wrong in (
        header[:-1] + ("A" if header[-1] != "A" else "B"),
        f"Bearer cst_{'0' * 16}_{'A' * 43}",
        f"Bearer cst_{token_id}_{'A' * 43}",
        f"Bearer {token()}",
        "Bearer nonsense",
        "Digest x",
        "Bearer",
    ):
        fields = refused(await client.get(ADA, Authorization=wrong))
        answers.append({name: fields[name] for name in ("title", "detail", "code", "status")})
    for user in ("ada", "nobody"):
        reply = await client.get(ADA, Authorization=basic(user, "wrong horse"))
        fields = refused(reply)
        answers.append({name: fields[name] for name in ("title", "detail", "code", "status")})
        assert reply.headers.getall("WWW-Authenticate")[1].startswith("Basic ")
    assert all(one == answers[0] for one in answers)
    assert "ada" not in str(answers[0])


async def test_a_revoked_token_is_refused_on_the_connection_that_has_used_it(
    members: Members, connection: Connection
) -> None:
    token_id, header = await members.token("ada")
    request = f"GET {ADA} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n\r\n".encode()
    for _ in range(3):
        assert await connection.ask(request) == [200]
    await members.revoke(token_id)
    assert await connection.ask(request) == [401]


async def test_pipelined_requests_are_each_asked(members: Members, connection: Connection) -> None:
    _, header = await members.token("ada")
    good = f"GET {ADA} HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n\r\n".encode()
    none = f"GET {ADA} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    bad = f"GET {ADA} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer cst_x\r\n\r\n".encode()
    order = (good, none, good, bad, good, good, none)
    for _ in range(3):
        assert await connection.ask(*order) == [200, 401, 200, 401, 200, 200, 401]


async def test_two_authorization_headers_are_refused(members: Members, connection: Connection) -> None:
    _, header = await members.token("ada")
    lines = f"Authorization: {header}\r\n" * 2
    for _ in range(2):
        assert await connection.ask(f"GET {ADA} HTTP/1.1\r\nHost: x\r\n{lines}\r\n".encode()) == [401]
    smuggled = f"Authorization: {OWNER}\r\nAuthorization: Bearer cst_x\r\n"
    assert await connection.ask(f"GET {ADA} HTTP/1.1\r\nHost: x\r\n{smuggled}\r\n".encode()) == [401]


async def test_headers_that_name_an_identity_mean_nothing(client: Client, members: Members) -> None:
    for name in ("X-Forwarded-User", "X-Remote-User", "X-Forwarded-Client-Cert", "Forwarded", "Proxy-Authorization"):
        refused(await client.send("GET", ADA, headers={name: OWNER if "Auth" in name else "operator"}))


async def test_an_expired_token_is_refused(client: Client, members: Members, watched: Watched) -> None:
    _, header = await members.token("ada", ttl="60s")
    made = (await client.get("/api/v1/whoami", Authorization=header)).json["expires_ms"] / 1000
    watched.wall = made - 0.1
    assert (await client.get(ADA, Authorization=header)).status == 200
    watched.wall = made
    refused(await client.get(ADA, Authorization=header))


async def test_a_disabled_user_is_refused_and_comes_back(client: Client, members: Members) -> None:
    _, header = await members.token("ada")
    assert (await client.get(ADA, Authorization=header)).status == 200
    await members.user("ada", disabled=True)
    refused(await client.get(ADA, Authorization=header))
    await members.user("ada")
    assert (await client.get(ADA, Authorization=header)).status == 200


async def test_anonymous_callers_get_in_where_they_have_roles(client: Client, members: Members) -> None:
    await members.configure(anonymous_roles=["reader"])
    assert (await client.get(ADA)).status == 200
    refused(await client.get(ADA, Authorization="Bearer cst_x"))
    await members.configure()
    refused(await client.get(ADA))


async def test_without_access_control_a_credential_is_looked_at_where_it_is_asked_for_alone(
    client: Client, members: Members
) -> None:
    _, header = await members.token("ada")
    await members.configure(mode="Disabled")
    assert await whoami(client, header) == ("ada", "token")
    assert (await client.get("/api/v1/whoami", Authorization="Bearer cst_x")).json["user"] is None
    assert (await client.get("/api/v1/whoami")).json["user"] is None
    assert (await client.get(ADA, Authorization="Bearer cst_x")).status == 200


async def test_permissive_lets_in_and_counts_what_it_would_refuse(
    client: Client, members: Members, watched: Watched
) -> None:
    await members.configure(mode="Permissive")
    assert (await client.get(ADA)).status == 200
    assert (await client.get(ADA, Authorization="Bearer cst_x")).status == 200
    _, header = await members.token("ada")
    assert await whoami(client, header) == ("ada", "token")
    for target in ("/status", "/metrics"):
        assert (await client.get(target)).status == 200
    assert watched.metrics.counts["missing", True] >= 1
    assert watched.metrics.counts["unknown", True] >= 1
    await members.configure()
    refused(await client.get(ADA))


async def test_a_token_of_an_issuer_gets_in(client: Client, members: Members, watched: Watched) -> None:
    assert URL
    await members.configure(
        jwt=[
            {
                "issuer": URL,
                "audiences": [AUDIENCE],
                "jwks_url": KEYS_URL,
                "user_prefix": "corp:",
                "rules": [{"claim": "groups", "values": ["people"], "roles": ["reader"]}],
            }
        ]
    )
    header = f"Bearer {token(claims(groups=['people']))}"
    assert (await client.get(ADA, Authorization=header)).status == 200
    assert await whoami(client, header) == ("corp:ada", "jwt")
    watched.wall = NOW + 630.0
    refused(await client.get(ADA, Authorization=header))


async def test_huge_headers_are_refused(client: Client, members: Members) -> None:
    refused(await client.get(ADA, Authorization="Bearer " + "a" * 8_000))
    refused(await client.get(ADA, Authorization="Bearer eyJ" + "a" * 7_900 + ".a.b"))
    reply = await client.get(ADA, Authorization="Bearer " + "a" * 9_000)
    assert reply.status == 431


# Passwords and sessions


async def test_logging_in_gives_a_token_that_ends_and_logging_out_ends_it_at_once(
    client: Client, members: Members, watched: Watched
) -> None:
    await members.send("PUT", "/api/v1/users/ada/password", {"password": "correct horse"})
    reply = await client.post("/api/v1/login", {"user": "ada", "password": "correct horse"})
    assert reply.status == 201, reply.body
    assert reply.headers["Cache-Control"] == "no-store"
    session = reply.json
    assert session["user"] == "ada"
    assert session["expires_in_s"] == 3_600
    header = f"Bearer {session['token']}"
    assert await whoami(client, header) == ("ada", "token")
    assert (await client.send("POST", "/api/v1/logout", headers={"Authorization": header})).status == 200
    refused(await client.get(ADA, Authorization=header))
    other = await client.send("POST", "/api/v1/login", headers={"Authorization": basic("ada", "correct horse")})
    assert other.status == 201


async def test_a_wrong_password_and_an_unknown_user_are_refused_alike(client: Client, members: Members) -> None:
    await members.send("PUT", "/api/v1/users/ada/password", {"password": "correct horse"})
    await members.user("bob")
    found = []
    for user in ("ada", "nobody", "bob"):
        fields = refused(await client.post("/api/v1/login", {"user": user, "password": "wrong horse"}))
        found.append({name: value for name, value in fields.items() if name not in ("instance", "request_id")})
    assert found[0] == found[1] == found[2]
    for user, password in (("", "x"), ("ada", ""), ("a\nb", "x" * 9), ("a" * 129, "x"), ("ada", "x" * 1_025)):
        refused(await client.post("/api/v1/login", {"user": user, "password": password}))
    wrong: list[dict[str, Any]] = [
        {"user": "ada"},
        {"user": 5, "password": "x"},
        {"user": "a", "password": "x", "c": 1},
    ]
    for body in wrong:
        (await client.post("/api/v1/login", body)).problem(400, "invalid_body")


async def test_guessing_is_slowed(client: Client, members: Members, watched: Watched) -> None:
    await members.send("PUT", "/api/v1/users/ada/password", {"password": "correct horse"})
    for at in range(6):
        refused(await client.post("/api/v1/login", {"user": "ada", "password": f"guess-{at}"}))
    reply = await client.post("/api/v1/login", {"user": "ada", "password": "correct horse"})
    fields = reply.problem(429, "too_many_attempts")
    assert fields["outcome"] == "not_applied"
    assert fields["retryable"]
    assert reply.headers["Retry-After"] == "1"
    (await client.get(ADA, Authorization=basic("ada", "guess"))).problem(429, "too_many_attempts")
    watched.clock += 1.0
    assert (await client.post("/api/v1/login", {"user": "ada", "password": "correct horse"})).status == 201


async def test_a_password_is_set_by_administrators_and_ends_what_the_former_opened(
    client: Client, members: Members
) -> None:
    target = "/api/v1/users/ada/password"
    refused(await client.put(target, {"password": "correct horse"}))
    await members.send("PUT", target, {"password": "correct horse"})
    header = basic("ada", "correct horse")
    assert await whoami(client, header) == ("ada", "password")
    await members.send("PUT", target, {"password": "battery staple"})
    refused(await client.get(ADA, Authorization=header))
    await members.send("DELETE", target)
    refused(await client.get(ADA, Authorization=basic("ada", "battery staple")))
    for body in ({"password": "short"}, {"password": "x" * 1_025}, {}, {"password": 5}):
        reply = await client.send("PUT", target, orjson.dumps(body), AS_OWNER | JSON)
        assert reply.problem(400, "invalid_body")["outcome"] == "not_applied"
    reply = await client.send(
        "PUT", "/api/v1/users/nobody/password", orjson.dumps({"password": "x" * 9}), AS_OWNER | JSON
    )
    reply.problem(404, "user_not_found")
    await members.user("b:c")
    reply = await client.send("PUT", "/api/v1/users/b:c/password", b'{"password":"xxxxxxxxx"}', AS_OWNER | JSON)
    assert reply.status in (400, 422), "Basic ends a user at the first colon"


async def test_only_a_token_logs_out(client: Client, members: Members) -> None:
    reply = await client.send("POST", "/api/v1/logout", headers=AS_OWNER)
    reply.problem(409, "not_logged_in")


# What lasts


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as found:
        yield found


@pytest.mark.parametrize("accept", ["application/x-ndjson", "text/event-stream"])
async def test_a_watch_ends_with_its_token(
    members: Members, session: aiohttp.ClientSession, port: int, watched: Watched, accept: str
) -> None:
    token_id, header = await members.token("ada")
    watches = WatchClients(session, port)
    async with watches.open("collections/people:watch", Accept=accept, Authorization=header) as watch:
        await members.send("PUT", ADA, {"name": "Ada", "n": 1})
        assert (await watch.event())["id"] == "ada"
        await members.revoke(token_id)
        last = await watch.event()
        assert (last["event"], last["code"]) == ("failed", "unauthorized")
        assert last["token"]
        assert (await watch.rest()).strip() == b""
    assert watched.metrics.counts["expelled"] == 1


async def test_a_watch_ends_when_its_token_expires(
    members: Members, session: aiohttp.ClientSession, port: int, watched: Watched
) -> None:
    _, header = await members.token("ada", ttl="60s")
    async with WatchClients(session, port).open("collections/people:watch", Authorization=header) as watch:
        watched.wall += 1e9
        assert (await watch.event())["code"] == "unauthorized"


async def test_a_watch_goes_on_while_others_lose_theirs(
    members: Members, session: aiohttp.ClientSession, port: int
) -> None:
    await members.user("bob")
    _, header = await members.token("ada")
    other, _ = await members.token("bob")
    async with WatchClients(session, port).open("collections/people:watch", Authorization=header) as watch:
        await members.revoke(other)
        await members.user("bob", disabled=True)
        await members.send("PUT", ADA, {"name": "Ada", "n": 1})
        assert (await watch.event())["id"] == "ada"


async def test_a_long_poll_ends_with_its_token(members: Members, session: aiohttp.ClientSession, port: int) -> None:
    token_id, header = await members.token("ada")
    target = f"http://127.0.0.1:{port}/api/v1/collections/people:watch?wait=30s"
    polling = asyncio.ensure_future(session.get(target, headers={"Authorization": header}))
    await _polls(session, port)
    await members.revoke(token_id)
    async with asyncio.timeout(10):
        reply = await polling
        page = await reply.json()
    assert [one["code"] for one in page["events"]] == ["unauthorized"]


async def _polls(session: aiohttp.ClientSession, port: int) -> None:
    """Return when the member has a watch."""
    async with asyncio.timeout(10):
        while True:
            reply = await session.get(f"http://127.0.0.1:{port}/status", headers=AS_OWNER)
            if (await reply.json())["watches"]["open"]:
                return


async def test_a_stream_ends_with_its_token(
    members: Members, session: aiohttp.ClientSession, port: int, watched: Watched
) -> None:
    token_id, header = await members.token("ada")
    stream: StreamClient = await connect(session, port, headers={"Authorization": header})
    assert (await stream.ask("get_document", collection="people", id="ada"))["status"] == 200
    await members.revoke(token_id)
    assert (await stream.closed())[0] == Close.UNAUTHORIZED
    assert watched.metrics.counts["expelled"] == 1


async def test_an_operation_of_a_stream_is_refused_before_it_is_looked_at(
    members: Members, session: aiohttp.ClientSession, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without anybody who looks at what lasts: the operation itself is asked.
    monkeypatch.setattr(guards_module, "SWEEP_S", 1_000.0)
    token_id, header = await members.token("ada")
    stream: StreamClient = await connect(session, port, headers={"Authorization": header})
    await members.revoke(token_id)
    await stream.send({"op": "get_document", "tag": 1, "collection": "people", "id": "ada"})
    assert (await stream.closed())[0] == Close.UNAUTHORIZED


async def test_a_stream_without_a_credential_is_not_opened(
    members: Members, session: aiohttp.ClientSession, port: int
) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
        await connect(session, port)
    assert caught.value.status == 401


async def test_what_was_opened_without_access_control_ends_when_it_is_enforced(
    members: Members, session: aiohttp.ClientSession, port: int
) -> None:
    await members.configure(mode="Disabled")
    stream: StreamClient = await connect(session, port)
    async with WatchClients(session, port).open("collections/people:watch") as watch:
        await members.configure()
        # By its missing rights, or by its missing credential, whichever is seen first.
        assert (await watch.event())["code"] in ("forbidden", "unauthorized")
    assert (await stream.closed())[0] == Close.UNAUTHORIZED


async def test_what_was_opened_goes_on_when_it_becomes_permissive(
    members: Members, session: aiohttp.ClientSession, port: int
) -> None:
    await members.configure(mode="Disabled")
    stream: StreamClient = await connect(session, port)
    await members.configure(mode="Permissive")
    assert (await stream.ask("get_document", collection="people", id="ada"))["status"] == 200


async def test_an_import_ends_with_its_token(
    members: Members, session: aiohttp.ClientSession, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards_module, "LONG_S", 0.0)
    token_id, header = await members.token("ada")
    begun, never = asyncio.Event(), asyncio.Event()

    async def lines() -> AsyncIterator[bytes]:
        yield b'{"_id":"one","n":1}\n'
        begun.set()
        await never.wait()

    target = f"http://127.0.0.1:{port}/api/v1/collections/people:import"
    headers = {"Authorization": header, "Content-Type": "application/x-ndjson"}
    sending = asyncio.ensure_future(session.post(target, data=lines(), headers=headers))
    await begun.wait()
    await members.revoke(token_id)
    async with asyncio.timeout(10):
        with pytest.raises(aiohttp.ClientError):
            await sending


# The metrics port


async def test_the_metrics_port_asks_for_the_right_to_monitor(
    members: Members, store: Store, metrics: RecordedMetrics, watched: Watched
) -> None:
    from aiohttp import web

    await members.user("prometheus", roles=["monitor"])
    await members.user("reader", roles=["reader"])
    _, monitor = await members.token("prometheus")
    _, reader = await members.token("reader")
    probes = make_probe_server(store, LIMITS, metrics, render_metrics=_render, guard=watched.guard)
    runner = web.ServerRunner(probes)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        client = Client(session, runner.addresses[0][1])
        for target in ("/livez", "/readyz", "/health"):
            assert (await client.get(target)).status == 200
        for target in ("/metrics", "/status", "/debug/raft"):
            refused(await client.get(target))
            (await client.get(target, Authorization=reader)).problem(403, "forbidden")
            assert (await client.get(target, Authorization=monitor)).status == 200
    await runner.cleanup()


async def test_permissive_asks_no_leader_before_it_lets_in(client: Client, members: Members, watched: Watched) -> None:
    async def catch_up() -> None:
        raise NotNow("no leader")

    watched.authenticator._catch_up = catch_up
    unknown = f"Bearer cst_{'0' * 16}_{'A' * 43}"
    assert (await client.get(ADA, Authorization=unknown)).status == 503
    await members.configure(mode="Permissive")
    assert (await client.get(ADA, Authorization=unknown)).status == 200


async def test_what_lasts_is_looked_at_again_when_the_state_could_not_be_read(
    members: Members, session: aiohttp.ClientSession, port: int, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    token_id, header = await members.token("ada")
    async with WatchClients(session, port).open("collections/people:watch", Authorization=header) as watch:
        failed = asyncio.Event()
        policy = watched.guard._policy

        def broken() -> Any:
            failed.set()
            raise StorageFailed("the disk is gone")

        monkeypatch.setattr(watched.guard, "_policy", broken)
        await failed.wait()
        monkeypatch.setattr(watched.guard, "_policy", policy)
        await members.revoke(token_id)
        assert (await watch.event())["code"] == "unauthorized"
