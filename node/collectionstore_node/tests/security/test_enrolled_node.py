"""A whole node that enrols with Kubernetes: what its probes answer meanwhile, and when it starts."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from collectionstore_node.tests.security.signer import Authority, FakeApiServer

DEADLINE_S = 60
IDENTITY = "collectionstore://c1/demo-0"


@dataclass
class Answer:
    """What a probe got; status 0 while nothing listens."""

    status: int
    body: dict[str, Any]


class Node:
    """One node as a process, with an API server that serves signing requests only."""

    def __init__(self, folder: Path, server: FakeApiServer, api_url: str) -> None:
        self.folder = folder
        self.server = server
        self.authority = Authority()
        self.process: asyncio.subprocess.Process | None = None
        self._api = api_url.removeprefix("https://")
        self._client, self._peer, self._metrics = _free_ports()
        self.further: dict[str, str] = {}

    async def start(self) -> None:
        """Start the process; its service account is the folder of the API server."""
        settings = {
            "NAME": "demo-0",
            "NAMESPACE": "shop",
            "CLUSTER_ID": "c1",
            "DATA_DIR": str(self.folder / "data"),
            "TLS_DIR": str(self.folder / "tls"),
            "CLIENT_ADDRESS": f"127.0.0.1:{self._client}",
            "PEER_ADDRESS": f"127.0.0.1:{self._peer}",
            "METRICS_ADDRESS": f"127.0.0.1:{self._metrics}",
            "ENROLMENT": "Kubernetes",
            "API_SERVER": self._api,
            "SERVICE_ACCOUNT_DIR": str(self.folder / "account"),
            "TRUST_FILE": str(self.folder / "trust.crt"),
            **self.further,
        }
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "collectionstore_node",
            env={**os.environ, **{f"COLLECTIONSTORE_{name}": value for name, value in settings.items()}},
            stderr=asyncio.subprocess.PIPE,
        )

    async def stop(self) -> tuple[int, str]:
        """Send SIGTERM; return exit code and log."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> tuple[int, str]:
        """Return exit code and log of a process that ends by itself."""
        assert self.process is not None
        _, log = await asyncio.wait_for(self.process.communicate(), DEADLINE_S)
        return self.process.returncode or 0, log.decode()

    async def until(self, path: str, expected: Callable[[Answer], bool]) -> Answer:
        """Ask the metrics port until the answer is as wanted."""
        answer = Answer(0, {})
        async with asyncio.timeout(DEADLINE_S), aiohttp.ClientSession() as session:
            while not expected(answer):
                assert self.process is not None
                assert self.process.returncode is None, "the node has ended"
                answer = await _ask(session, f"http://127.0.0.1:{self._metrics}{path}")
        return answer

    def listens_for_clients(self) -> bool:
        """Return whether the client port is open."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._client)) == 0

    async def shown_certificate(self) -> bytes:
        """Return what the client port shows, PEM."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the authority of these tests begins in 2030
        _, writer = await asyncio.open_connection("127.0.0.1", self._client, ssl=context)
        found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return x509.load_der_x509_certificate(found).public_bytes(Encoding.PEM)

    def separate(self) -> None:
        """Give clients an authority of their own."""
        self.further = {
            "CLIENT_TLS_DIR": str(self.folder / "tls-clients"),
            "CLIENT_TRUST_FILE": str(self.folder / "client-trust.crt"),
        }

    async def status(self) -> dict[str, Any]:
        """Return what the node reports of its certificates."""
        found = await self.until("/status", lambda one: one.status == 200 and bool(one.body.get("tls")))
        tls: dict[str, Any] = found.body["tls"]
        return tls

    async def sign_for(self, purpose: str, authority: Authority) -> dict[str, Any]:
        """Sign what the node asks for, which must be for `purpose`; return the request."""
        await asyncio.wait_for(self.server.created.wait(), DEADLINE_S)
        self.server.created.clear()
        ((name, body),) = [one for one in self.server.objects.items() if "status" not in one[1]]
        assert body["metadata"]["labels"] == {"collectionstore.io/purpose": purpose}
        begin = datetime.now(UTC) - timedelta(hours=1)
        self.server.issue(name, authority.sign(self.server.request_pem(name), IDENTITY, begin=begin))
        return body

    async def sign(self) -> None:
        """Sign what the node asks for, as soon as it does."""
        await asyncio.wait_for(self.server.created.wait(), DEADLINE_S)
        ((name, _),) = self.server.objects.items()
        begin = datetime.now(UTC) - timedelta(hours=1)
        self.server.issue(name, self.authority.sign(self.server.request_pem(name), IDENTITY, begin=begin))


def says(words: str) -> Callable[[Answer], bool]:
    """Return whether an answer contains these words as its reason."""
    return lambda one: words in one.body.get("detail", "")


def waits_no_more(answer: Answer) -> bool:
    """Return whether a node that is in no cluster yet has what it needs to be a member."""
    return answer.status > 0 and "waiting for a certificate" not in answer.body["detail"]


async def _ask(session: aiohttp.ClientSession, url: str) -> Answer:
    try:
        async with session.get(url) as answer:
            return Answer(answer.status, await answer.json(content_type=None))
    except aiohttp.ClientConnectionError:
        await asyncio.sleep(0.02)  # between two looks at a port that is not open yet
        return Answer(0, {})


def _free_ports() -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    server = FakeApiServer()
    account = tmp_path / "account"
    account.mkdir()
    api = await server.start(account)
    (account / "api-ca.crt").rename(account / "ca.crt")
    node = Node(tmp_path, server, api.url)
    yield node
    if node.process is not None and node.process.returncode is None:
        node.process.kill()
        await node.process.communicate()
    await server.stop()


async def test_node_without_a_certificate_is_alive_and_reports_what_it_waits_for(node: Node) -> None:
    """It serves neither clients nor members before it has a certificate."""
    await node.start()
    waiting = await node.until("/readyz", says("trust.crt does not exist yet"))
    assert (waiting.status, waiting.body["code"], waiting.body["retryable"]) == (503, "not_ready", True)
    assert (await node.until("/livez", lambda one: one.status > 0)).body == {"alive": True}
    (node.folder / "trust.crt").write_bytes(node.authority.pem)
    await node.until("/readyz", says("not signed the request collectionstore-shop-demo-0-"))
    assert (await node.until("/metrics", lambda one: one.status > 0)).status == 503
    assert not node.listens_for_clients()

    await node.sign()
    joined = await node.until("/readyz", waits_no_more)
    assert joined.status == 503, "it is in no cluster yet"
    assert await node.shown_certificate() == (node.folder / "tls" / "tls.crt").read_bytes()
    assert (await node.stop())[0] == 0


async def test_node_with_a_valid_pair_starts_without_kubernetes(node: Node) -> None:
    """A pod must restart without the operator and the API server."""
    (node.folder / "trust.crt").write_bytes(node.authority.pem)
    await node.start()
    await node.sign()
    await node.until("/readyz", waits_no_more)
    await node.stop()
    first = (node.folder / "tls" / "tls.crt").read_bytes()
    await node.server.stop()

    await node.start()
    await node.until("/readyz", waits_no_more)
    assert await node.shown_certificate() == first
    code, log = await node.stop()
    assert code == 0
    assert "certificate.wanted" not in log


async def test_node_that_waits_stops_on_sigterm(node: Node) -> None:
    """A pod that is deleted before its first certificate stops at once."""
    (node.folder / "trust.crt").write_bytes(node.authority.pem)
    await node.start()
    await asyncio.wait_for(node.server.created.wait(), DEADLINE_S)
    assert (await node.stop())[0] == 0


async def test_node_without_a_service_account_is_refused(node: Node) -> None:
    """Waiting cannot help, so it exits, with the code of an invalid setting."""
    (node.folder / "trust.crt").write_bytes(node.authority.pem)
    (node.folder / "account" / "ca.crt").unlink()
    await node.start()
    code, log = await node.ended()
    assert code == 64
    assert "account/ca.crt: No such file" in log


async def test_node_that_cannot_store_its_key_exits_as_for_a_failed_disk(node: Node) -> None:
    """The volume exists and cannot be written: exit code 74, and the log names the folder."""
    (node.folder / "trust.crt").write_bytes(node.authority.pem)
    (node.folder / "tls").write_text("a file where the folder should be")
    await node.start()
    code, log = await node.ended()
    assert code == 74
    assert "cannot store the certificate in" in log


async def test_node_with_separate_authorities_requests_one_certificate_of_each(node: Node) -> None:
    """Each port shows the certificate, and trusts the authority, that is for it alone."""
    clients = Authority("clients")
    node.separate()
    (node.folder / "trust.crt").write_bytes(node.authority.pem)
    (node.folder / "client-trust.crt").write_bytes(clients.pem)
    await node.start()
    peers = await node.sign_for("peers", node.authority)
    served = await node.sign_for("clients", clients)
    assert "client auth" in peers["spec"]["usages"], "members dial each other"
    assert "client auth" not in served["spec"]["usages"], "it is worth nothing to a client"
    await node.until("/readyz", waits_no_more)
    assert await node.shown_certificate() == (node.folder / "tls-clients" / "tls.crt").read_bytes()
    assert (node.folder / "tls" / "ca.crt").read_bytes() == node.authority.pem
    tls = await node.status()
    assert tls["trusted"] == [], "no authority is trusted by both ports"
    assert len(tls["peer_trusted"]) == len(tls["client_trusted"]) == 1
    assert tls["peer_trusted"] != tls["client_trusted"]
    assert tls["peers"]["serial"] != tls["clients"]["serial"]
    assert (await node.stop())[0] == 0


async def test_certificate_of_the_other_authority_is_not_stored(node: Node) -> None:
    """An operator that signs with the wrong key changes nothing, and the node says so."""
    clients = Authority("clients")
    node.separate()
    (node.folder / "trust.crt").write_bytes(node.authority.pem)
    (node.folder / "client-trust.crt").write_bytes(clients.pem)
    await node.start()
    await node.sign_for("peers", clients)
    await node.until("/readyz", says("no trusted authority has signed the certificate"))
    assert not (node.folder / "tls" / "tls.crt").exists()
    code, log = await node.stop()
    assert code == 0
    assert '"purpose": "peers"' in log or '"purpose":"peers"' in log or "purpose=peers" in log
