"""Client certificates on a TLS port: users and the operator get in by them, members do not."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from collectionstore_node.access.modes import Mode
from collectionstore_node.api import make_client_server
from collectionstore_node.api.http.guard import Guard
from collectionstore_node.authn.authenticator import Authenticator
from collectionstore_node.authn.key_sources import KeySources
from collectionstore_node.authn.passwords import Passwords
from collectionstore_node.security.client_tls import ClientTls, is_operator
from collectionstore_node.service import Store
from collectionstore_node.tests.api.conftest import LIMITS, STORE_LIMITS, _render
from collectionstore_node.tests.api.guards import Counted
from collectionstore_node.tests.api.memory_replica import Admins, MemoryReplica, RecordedMetrics
from collectionstore_node.tests.authn.test_key_sources import Web
from collectionstore_node.tests.transport.doubles import CLUSTER, Authority

USER = f"collectionstore://{CLUSTER}/users/ada"
OPERATOR = f"collectionstore://{CLUSTER}/operator"


class Port:
    """A client port with TLS, its authorities, and clients of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster, self.users = Authority("cluster"), Authority("users")
        self.cluster.issue(folder / "node", "shop-0")
        files = self.users.issue(folder / "users", "x")
        self.tls = ClientTls(folder / "node", users=files.ca)
        self.store = Store(MemoryReplica(), STORE_LIMITS, access=Mode.ENFORCED)
        self.made = 0
        self.number = 0

        async def catch_up() -> None:
            return None

        self.authenticator = Authenticator(
            self.store.access,
            lambda changed: KeySources(Web(), lambda: 0.0, changed),
            Passwords(),
            cluster_id=CLUSTER,
            wall_s=time.time,
            clock=lambda: 0.0,
            catch_up=catch_up,
            trust=self.tls,
        )

    async def open(self) -> web.ServerRunner:
        guard = Guard(self.authenticator, Counted(), lambda caller, verb, kind, name: True)
        server = make_client_server(
            self.store,
            LIMITS,
            RecordedMetrics(),
            render_metrics=_render,
            authorize_admin=Admins().authorize,
            tls=True,
            guard=guard,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self.tls.listening).start()
        self.number = runner.addresses[0][1]
        return runner

    def client(self, authority: Authority | None, *uris: str, name: str = "ada", member: bool = False) -> Any:
        """Return a session with a certificate; without one if there is no authority."""
        context = ssl.create_default_context(cafile=str(self.folder / "node" / "ca.crt"))
        context.check_hostname = False
        if authority is not None:
            self.made += 1
            folder = self.folder / f"client-{self.made}"
            files = authority.issue(folder, name, uris=list(uris), member=member)
            context.load_cert_chain(files.certificate, files.key)
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))

    async def ask(
        self, session: aiohttp.ClientSession, method: str, path: str, body: object = None, **headers: str
    ) -> Any:
        data = None if body is None else orjson.dumps(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        async with session.request(
            method, f"https://127.0.0.1:{self.number}{path}", data=data, headers=headers
        ) as answer:
            return answer.status, orjson.loads(await answer.read() or b"null")


@pytest.fixture
async def port(tmp_path: Path) -> AsyncIterator[Port]:
    found = Port(tmp_path)
    runner = await found.open()
    yield found
    await runner.cleanup()


async def test_users_and_the_operator_get_in_and_members_do_not(port: Port) -> None:
    async with port.client(port.cluster, OPERATOR) as operator:
        status, who = await port.ask(operator, "GET", "/api/v1/whoami")
        assert (status, who["user"], who["method"]) == (200, "operator", "certificate")
        assert "operator" in who["roles"]
        assert (await port.ask(operator, "PUT", "/api/v1/users/ada", {"roles": ["reader"]}))[0] == 201
    clients: list[tuple[Authority, list[str], str]] = [
        (port.cluster, [USER], "x"),
        (port.users, [USER], "x"),
        (port.users, [], "ada"),
    ]
    for authority, uris, name in clients:
        async with port.client(authority, *uris, name=name) as session:
            status, who = await port.ask(session, "GET", "/api/v1/whoami")
            assert (status, who["user"], who["roles"]) == (200, "ada", ["reader"])
    others: list[tuple[Authority, list[str]]] = [
        (port.cluster, [f"collectionstore://{CLUSTER}/shop-1", "collectionstore-node:00c0ffee00c0ffee"]),
        (port.cluster, [f"collectionstore://{CLUSTER}/users/nobody"]),
        (port.users, [OPERATOR]),
        (port.users, [f"collectionstore://{CLUSTER}/shop-1"]),
    ]
    for authority, uris in others:
        async with port.client(authority, *uris, member=True) as session:
            status, problem = await port.ask(session, "GET", "/api/v1/whoami")
            assert (status, problem["code"]) == (401, "unauthorized")
    async with port.client(None) as session:
        assert (await port.ask(session, "GET", "/api/v1/whoami"))[0] == 401


async def test_a_member_does_not_get_in_with_a_token_either(port: Port) -> None:
    async with port.client(port.cluster, OPERATOR) as operator:
        await port.ask(operator, "PUT", "/api/v1/users/ada", {"roles": ["reader"]})
        _, made = await port.ask(operator, "POST", "/api/v1/tokens", {"user": "ada", "ttl": "none"})
    header = f"Bearer {made['token']}"
    member = f"collectionstore://{CLUSTER}/shop-1"
    async with port.client(port.cluster, member, member=True) as session:
        assert (await port.ask(session, "GET", "/api/v1/whoami", Authorization=header))[0] == 401
    async with port.client(None) as session:
        assert (await port.ask(session, "GET", "/api/v1/whoami", Authorization=header))[1]["user"] == "ada"
    async with port.client(port.cluster, OPERATOR) as session:
        assert (await port.ask(session, "GET", "/api/v1/whoami", Authorization=header))[1]["user"] == "ada"
        assert (await port.ask(session, "GET", "/api/v1/whoami", Authorization="Bearer cst_x"))[0] == 401


async def test_a_revoked_certificate_and_a_disabled_user_are_refused_on_their_open_connection(port: Port) -> None:
    async with port.client(port.cluster, OPERATOR) as operator, port.client(port.users, USER) as ada:
        await port.ask(operator, "PUT", "/api/v1/users/ada", {"roles": ["reader"]})
        status, who = await port.ask(ada, "GET", "/api/v1/whoami")
        assert status == 200
        body = {"mode": "Enforced", "revoked_certificates": [who["credential"]]}
        assert (await port.ask(operator, "PUT", "/api/v1/access", body))[0] in (200, 201)
        assert (await port.ask(ada, "GET", "/api/v1/whoami"))[0] == 401
        await port.ask(operator, "PUT", "/api/v1/access", {"mode": "Enforced"})
        assert (await port.ask(ada, "GET", "/api/v1/whoami"))[0] == 200
        await port.ask(operator, "PUT", "/api/v1/users/ada", {"roles": ["reader"], "disabled": True})
        assert (await port.ask(ada, "GET", "/api/v1/whoami"))[0] == 401


async def test_an_authority_that_is_not_trusted_any_more_ends_what_it_signed(port: Port) -> None:
    async with port.client(port.cluster, OPERATOR) as operator, port.client(port.users, USER) as ada:
        await port.ask(operator, "PUT", "/api/v1/users/ada", {"roles": ["reader"]})
        assert (await port.ask(ada, "GET", "/api/v1/whoami"))[0] == 200
        (port.folder / "users" / "ca.crt").write_bytes((port.folder / "node" / "ca.crt").read_bytes())
        before = port.tls.authorities
        port.tls.reload()
        assert port.tls.authorities != before
        port.authenticator.changed()
        assert (await port.ask(ada, "GET", "/api/v1/whoami"))[0] == 401


async def test_the_users_authority_makes_no_operator_of_requests_that_change_the_cluster(port: Port) -> None:
    async with port.client(port.users, OPERATOR) as session:
        assert (await port.ask(session, "GET", "/livez"))[0] == 200, "the handshake accepts it"
    certificate = (port.folder / f"client-{port.made}" / "tls.crt").read_bytes()
    der = ssl.PEM_cert_to_DER_cert(certificate.decode())
    assert not port.tls.still_trusts(der)
    assert is_operator(CLUSTER, {"subjectAltName": (("URI", OPERATOR),)}), "its name alone is not enough"
