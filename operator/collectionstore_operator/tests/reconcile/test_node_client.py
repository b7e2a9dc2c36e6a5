"""A node's response becomes a typed value; a missing or unusable one is Unknown with a reason."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from collectionstore_operator.errors import ActionRefused, ActionUnfinished
from collectionstore_operator.model.actions import (
    AddLearners,
    Bootstrap,
    ChangeVoters,
    MemberRef,
    RemoveLearners,
    TransferLeadership,
)
from collectionstore_operator.model.observed import CertificateKind, NodeStatus, Observed, Pod, Slot, Unknown
from collectionstore_operator.reconcile.execute import member_changes, perform_on_nodes
from collectionstore_operator.reconcile.node_client import Done, MemberChange, NodeClient, Refused, server_name
from collectionstore_operator.reconcile.observe import ask_nodes, has_data
from collectionstore_operator.reconcile.pki import SKEW_S, make_authority, make_leaf

STATUS = {"cluster_id": "c", "node_id": "a" * 16, "name": "demo-0", "term": 3, "role": "Leader", "state": "Member"}
PROBLEM = {"code": "configuration_changed", "detail": "index is 7", "retryable": False, "outcome": "not_applied"}

LONG_S: Final = 60.0
"""Nodes of a busy computer may take their time where a test is about something else."""


class StubNode:
    """An HTTP server that gives one response to every request, and records the requests."""

    def __init__(self) -> None:
        self.status, self.content = 200, json.dumps(STATUS).encode()
        self.silent = False
        self.asked: list[tuple[str, Any]] = []
        self.authorized: list[bool] = []
        self.url = ""

    def will_answer(self, status: int, content: object) -> None:
        self.status = status
        self.content = content if isinstance(content, bytes) else json.dumps(content).encode()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line[16:] for line in head.lower().split("\r\n") if line.startswith("content-length: ")), "0")
        self.authorized.append("\r\nauthorization: bearer secret\r\n" in head.lower())
        body = await reader.readexactly(int(length))
        self.asked.append((head.split(" HTTP")[0], json.loads(body) if body else None))
        if not self.silent:
            writer.write(f"HTTP/1.1 {self.status} -\r\nContent-Length: {len(self.content)}\r\n".encode())
            writer.write(b"Connection: close\r\n\r\n" + self.content)
            await writer.drain()
        else:
            await reader.read()
        writer.close()


@pytest.fixture
async def stub() -> AsyncIterator[StubNode]:
    stub = StubNode()
    server = await asyncio.start_server(stub, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stub.url = f"http://127.0.0.1:{port}"
    yield stub
    server.close()


@pytest.fixture
async def client() -> AsyncIterator[NodeClient]:
    async with NodeClient(status_timeout_s=LONG_S) as client:
        yield client


@asynccontextmanager
async def secured(stub: StubNode, client: NodeClient, folder: Path, now: int) -> AsyncIterator[str]:
    """Serve `stub` by https, with a certificate that `client` trusts; yield the URL."""
    authority = make_authority("demo", "c", lifetime_s=9_000, now=now)
    names = ("IP:127.0.0.1",)
    leaf = make_leaf(authority, kind=CertificateKind.MEMBER, name="demo-0", names=names, lifetime_s=3_600, now=now)
    (folder / "tls.crt").write_bytes(leaf.certificate_pem)
    (folder / "tls.key").write_bytes(leaf.key_pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server = await asyncio.start_server(stub, "127.0.0.1", 0, ssl=context)
    client.use(ssl.create_default_context(cadata=authority.certificate_pem.decode()))
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_status_is_decoded_and_unknown_fields_are_ignored(stub: StubNode, client: NodeClient) -> None:
    """A newer node may report fields that this operator does not know."""
    stub.will_answer(200, {**STATUS, "colour": "green"})
    status = await client.status(stub.url)
    assert isinstance(status, NodeStatus)
    assert (status.name, status.term) == ("demo-0", 3)


async def test_certificate_that_a_node_presents_is_recorded(stub: StubNode, client: NodeClient, tmp_path: Path) -> None:
    """The one in use, which may differ from the last one signed for it."""
    now = int(time.time())
    async with secured(stub, client, tmp_path, now) as url:
        status = await client.status(url)
    assert isinstance(status, NodeStatus)
    assert status.certificate_not_after == now + 3_600
    assert status.certificate_not_before == now - SKEW_S
    plain = await client.status(stub.url)
    assert isinstance(plain, NodeStatus)
    assert plain.certificate_not_after == 0


async def test_a_token_goes_only_where_there_is_no_client_tls(
    stub: StubNode, client: NodeClient, tmp_path: Path
) -> None:
    """Elsewhere the certificate proves the operator, and a node refuses a credential that it does not know."""
    client.authorize("secret")
    await client.status(stub.url)
    async with secured(stub, client, tmp_path, int(time.time())) as url:
        await client.status(url)
        await client.call("PUT", f"{url}/api/v1/access", b"{}")
    assert stub.authorized == [True, False, False]


@pytest.mark.parametrize(
    ("code", "content", "reason"),
    [
        (200, b"<html>", "something else than expected"),
        (200, {"name": "demo-0"}, "something else than expected"),
        (500, {}, "answered 500"),
        (200, b" " * (5 << 20), "longer than"),
    ],
)
async def test_unusable_response_is_unknown(
    stub: StubNode, client: NodeClient, code: int, content: object, reason: str
) -> None:
    """Another process may listen on the port; nothing is concluded from its response."""
    stub.will_answer(code, content)
    status = await client.status(stub.url)
    assert isinstance(status, Unknown)
    assert reason in status.reason


async def test_refused_connection_is_unknown(client: NodeClient) -> None:
    """The reason names the address and the error."""
    status = await client.status("http://127.0.0.1:1")
    assert status == Unknown("cannot connect to 127.0.0.1:1: connection refused")


async def test_unresponsive_node_is_unknown_and_delays_no_other(stub: StubNode) -> None:
    """All requests are concurrent, each with its deadline."""
    stub.silent = True
    async with NodeClient(status_timeout_s=0.5) as client:
        answers = await ask_nodes(client, {0: stub.url, 1: "http://127.0.0.1:1"})
    assert answers[0] == Unknown(f"no answer from {stub.url}/status within 0.5 s")
    assert isinstance(answers[1], Unknown)


async def test_change_carries_index_and_epoch(stub: StubNode, client: NodeClient) -> None:
    """Both protect against changes planned from an older configuration."""
    change = MemberChange("add", "b" * 16, "demo-1", "127.0.0.1:7411", "http://127.0.0.1:7410")
    assert await client.change_members(stub.url, (change,), expected_index=7, epoch=2) == Done()
    [(request, body)] = stub.asked
    assert request == "POST /api/v1/cluster/members"
    assert body == {
        "changes": [
            {
                "action": "add",
                "node_id": "b" * 16,
                "name": "demo-1",
                "address": "127.0.0.1:7411",
                "http_address": "http://127.0.0.1:7410",
            }
        ],
        "expected_index": 7,
        "epoch": 2,
    }


async def test_refusal_differs_from_an_unknown_outcome(stub: StubNode, client: NodeClient) -> None:
    """Only a response with `not_applied` is a refusal."""
    stub.will_answer(409, PROBLEM)
    assert await client.bootstrap(stub.url, epoch=2) == Refused("configuration_changed", "index is 7", retryable=False)
    stub.will_answer(504, {**PROBLEM, "outcome": "unknown"})
    assert await client.bootstrap(stub.url, epoch=2) == Unknown("index is 7")
    stub.will_answer(502, b"bad gateway")
    assert isinstance(await client.bootstrap(stub.url, epoch=2), Unknown)


async def test_readiness_is_the_status_code(stub: StubNode, client: NodeClient) -> None:
    """200 means that a linearizable read works."""
    assert await client.is_ready(stub.url)
    stub.will_answer(503, PROBLEM)
    assert not await client.is_ready(stub.url)
    assert not await client.is_ready("http://127.0.0.1:1")


def observe(*urls: str, leader: int | None = 0) -> Observed:
    slots = tuple(
        Slot(
            ordinal=ordinal,
            pod=Pod(uid="u", running=True, ready=True, http_address=url),
            node=NodeStatus(
                cluster_id="c",
                node_id=f"{ordinal:016x}",
                name=f"demo-{ordinal}",
                role="Leader" if ordinal == leader else "Follower",
            ),
        )
        for ordinal, url in enumerate(urls)
    )
    return Observed(now=0.0, slots=slots, epoch=4)


async def test_membership_change_goes_to_the_leader(stub: StubNode, client: NodeClient) -> None:
    """The executor adds the fencing epoch to the planned action."""
    action = ChangeVoters(
        add=(MemberRef(node_id="b", name="demo-1"),),
        remove=(MemberRef(node_id="c", name="demo-2"),),
        expected_index=9,
        reason="",
    )
    await perform_on_nodes(action, observe("http://127.0.0.1:1", stub.url, leader=1), client)
    [(_, body)] = stub.asked
    assert body["changes"] == [{"action": "promote", "node_id": "b"}, {"action": "remove", "node_id": "c"}]
    assert (body["expected_index"], body["epoch"]) == (9, 4)


async def test_every_call_that_changes_a_cluster_carries_the_epoch(stub: StubNode, client: NodeClient) -> None:
    """Nodes refuse an operator that was replaced by its epoch."""
    member, me = MemberRef(node_id="b", name="demo-1"), f"{0:016x}"
    actions = (
        Bootstrap(ordinal=0, node_id=me, reason=""),
        AddLearners(members=(member,), expected_index=1, reason=""),
        ChangeVoters(add=(member,), expected_index=1, reason=""),
        RemoveLearners(members=(member,), expected_index=1, reason=""),
        TransferLeadership(leader=MemberRef(node_id=me, name="demo-0"), to=member, reason=""),
    )
    for action in actions:
        await perform_on_nodes(action, observe(stub.url), client)
    assert [body["epoch"] for _, body in stub.asked] == [4] * len(actions)


async def test_located_host_is_resolved_without_dns(stub: StubNode, client: NodeClient) -> None:
    """Neither DNS that is down nor its stale answers keep the operator from a member."""
    port = stub.url.rpartition(":")[2]
    url = f"http://demo-0.demo-peers.shop.invalid:{port}"
    assert isinstance(await client.status(url), Unknown)
    client.locate({"demo-0.demo-peers.shop.invalid": "127.0.0.1"})
    assert isinstance(await client.status(url), NodeStatus)
    client.locate({})
    assert isinstance(await client.status(url), Unknown), "it has no pod any more"


async def test_without_a_leader_the_action_is_refused(client: NodeClient) -> None:
    """No request was sent, so nothing was done."""
    action = TransferLeadership(
        leader=MemberRef(node_id="a", name="demo-0"), to=MemberRef(node_id="b", name="demo-1"), reason=""
    )
    with pytest.raises(ActionRefused, match="there is no leader"):
        await perform_on_nodes(action, observe("http://127.0.0.1:1", leader=None), client)


async def test_second_bootstrap_is_success(stub: StubNode, client: NodeClient) -> None:
    """The response to the first call may have been lost."""
    stub.will_answer(409, {**PROBLEM, "code": "already_bootstrapped"})
    await perform_on_nodes(Bootstrap(ordinal=0, node_id=f"{0:016x}", reason=""), observe(stub.url), client)


async def test_bootstrap_of_another_incarnation_is_refused(stub: StubNode, client: NodeClient) -> None:
    """The volume that was observed has been replaced."""
    with pytest.raises(ActionRefused):
        await perform_on_nodes(Bootstrap(ordinal=0, node_id="f" * 16, reason=""), observe(stub.url), client)
    assert stub.asked == []


async def test_outcomes_become_exceptions(stub: StubNode, client: NodeClient) -> None:
    """Refused and unfinished are different things to the loop."""
    action = AddLearners(members=(MemberRef(node_id="b", name="demo-1"),), expected_index=1, reason="")
    stub.will_answer(409, PROBLEM)
    with pytest.raises(ActionRefused, match="configuration_changed: index is 7"):
        await perform_on_nodes(action, observe(stub.url), client)
    stub.will_answer(504, {**PROBLEM, "outcome": "unknown"})
    with pytest.raises(ActionUnfinished):
        await perform_on_nodes(action, observe(stub.url), client)


def test_learners_are_added_with_their_addresses() -> None:
    """The log records a member's addresses with the change that adds it."""
    member = MemberRef(node_id="b", name="demo-1", address="h:1", http_address="http://h:2")
    (change,) = member_changes(AddLearners(members=(member,), expected_index=1, reason=""))
    assert change == MemberChange("add", "b", "demo-1", "h:1", "http://h:2")


def test_history_is_latched() -> None:
    """Once observed or recorded it stays true; nodes that do not respond prove nothing."""
    empty = NodeStatus(cluster_id="c", node_id="a", name="demo-0")
    member = NodeStatus(cluster_id="c", node_id="a", name="demo-0", state="Member", term=1, last_index=1)
    assert not has_data((empty, Unknown("silent")), recorded=False)
    assert has_data((member,), recorded=False)
    assert has_data((), recorded=True)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://demo-0.demo-peers.shop.svc:7400/status", "demo-0"),
        ("https://demo-0:7400", "demo-0"),
        ("https://127.0.0.1:7400", None),
        ("https://[::1]:7400", None),
    ],
)
def test_members_are_asked_for_by_their_name_alone(url: str, name: str | None) -> None:
    """By that name they show the certificate of the cluster's authority, whatever the user gives for clients."""
    assert server_name(url) == name
