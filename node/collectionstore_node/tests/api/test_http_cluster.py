"""Cluster and probe endpoints."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web

from collectionstore_node.api import HttpLimits, make_probe_server
from collectionstore_node.errors import ChangePending, InvalidRequest, OutcomeUnknown, ReadTimedOut
from collectionstore_node.replica import MemberChange, MembersRequest
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.tests.api.http_clients import Client
from collectionstore_node.tests.api.memory_replica import OTHER, Admins, MemoryReplica, RecordedMetrics, render_nothing

CLUSTER = "/api/v1/cluster"
A, B = "00000000000000a1", "00000000000000b2"
PLACE = {"name": "shop-1", "address": "127.0.0.1:7411", "http_address": "127.0.0.1:7410"}


async def test_cluster_has_members_leader_and_configuration(client: Client) -> None:
    fields = (await client.get(CLUSTER)).json

    assert fields["cluster_id"] == "shop"
    assert fields["leader"]["name"] == "shop-0"
    assert fields["configuration"] == {
        "index": 5,
        "voters": [A],
        "outgoing": [],
        "learners": [],
        "learners_next": [],
        "joint": False,
    }
    assert [one["name"] for one in fields["members"]] == ["shop-0"]
    assert (fields["fault_tolerance"], fields["epoch"], fields["revision"]) == (0, 2, 0)


async def test_bootstrap_is_once_only(client: Client) -> None:
    first = await client.post(f"{CLUSTER}/bootstrap", {})

    assert (first.status, first.json["state"]) == (200, "Member")
    (await client.post(f"{CLUSTER}/bootstrap", {})).problem(409, "already_bootstrapped")
    (await client.post(f"{CLUSTER}/bootstrap", {"force": True})).problem(400, "invalid_body")
    (await client.post(f"{CLUSTER}/bootstrap", {"epoch": "7"})).problem(400, "invalid_body")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"action": "add", "node_id": B, **PLACE, "expected_index": 5, "epoch": 2},
            MembersRequest((MemberChange("add", 0xB2, *PLACE.values()),), 5, 2),  # type: ignore[arg-type]
        ),
        ({"action": "remove", "node_id": B}, MembersRequest((MemberChange("remove", 0xB2),))),  # type: ignore[arg-type]
        ({"action": "promote", "node_id": B}, MembersRequest((MemberChange("promote", 0xB2),))),  # type: ignore[arg-type]
        ({"action": "demote", "node_id": B}, MembersRequest((MemberChange("demote", 0xB2),))),  # type: ignore[arg-type]
        (
            {"action": "replace", "node_id": B, "replaces": A, "epoch": 3},
            MembersRequest((MemberChange("promote", 0xB2), MemberChange("remove", 0xA1)), None, 3),  # type: ignore[arg-type]
        ),
        (
            {"changes": [{"action": "promote", "node_id": B}, {"action": "remove", "node_id": A}], "expected_index": 5},
            MembersRequest((MemberChange("promote", 0xB2), MemberChange("remove", 0xA1)), 5),  # type: ignore[arg-type]
        ),
    ],
)
async def test_membership_requests(
    client: Client, replica: MemoryReplica, body: dict[str, Any], expected: MembersRequest
) -> None:
    """The single form, and the form of a joint change."""
    reply = await client.post(f"{CLUSTER}/members?timeout=9s", body)

    assert (reply.status, reply.json["configuration"]["index"]) == (200, 5)
    assert replica.members_requests == [expected]
    assert replica.timeouts_s == [9.0]


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ({}, "action"),
        ({"action": "join", "node_id": B}, "action"),
        ({"action": "add", "node_id": 178}, "node_id"),
        ({"action": "add", "node_id": "B2"}, "node_id"),
        ({"action": "add", "node_id": "0" * 16}, "node_id"),
        ({"action": "add", "node_id": B, "adress": ""}, "adress"),
        ({"action": "add", "node_id": B, "epoch": "3"}, "epoch"),
        ({"action": "add", "node_id": B, "replaces": A}, "replaces"),
        ({"action": "replace", "node_id": B}, "replaces"),
        ({"changes": {}}, "changes"),
        ({"changes": [{"action": "add", "node_id": "x"}]}, "changes[0].node_id"),
        ({"changes": [], "action": "add"}, "action"),
        ({"changes": [{"action": "remove", "node_id": B, "epoch": 1}]}, "epoch"),
    ],
)
async def test_invalid_membership_requests(
    client: Client, replica: MemoryReplica, body: dict[str, Any], hint: str
) -> None:
    reply = await client.post(f"{CLUSTER}/members", body)

    assert hint in reply.problem(400, "invalid_body")["detail"]
    assert replica.members_requests == []


@pytest.mark.parametrize(
    ("error", "status", "code", "retryable"),
    [
        (InvalidRequest("configuration_changed", "it is 7"), 409, "configuration_changed", False),
        (InvalidRequest("stale_epoch", "behind"), 409, "stale_epoch", False),
        (InvalidRequest("node_removed", "gone"), 409, "node_removed", False),
        (InvalidRequest("address_missing", "where?"), 400, "address_missing", False),
        (ChangePending("joint"), 409, "change_pending", True),
        (OutcomeUnknown("late"), 504, "outcome_unknown", False),
    ],
)
async def test_membership_refusals(
    client: Client,
    replica: MemoryReplica,
    error: InvalidRequest,
    status: int,
    code: str,
    retryable: bool,  # noqa: FBT001 - a table's column
) -> None:
    replica.admin_error = error

    reply = await client.post(f"{CLUSTER}/members", {"action": "remove", "node_id": B})

    assert reply.problem(status, code)["retryable"] is retryable
    if isinstance(error, InvalidRequest):
        assert reply.json["configuration"]["index"] == 5


async def test_transfer_leadership(client: Client, replica: MemoryReplica) -> None:
    assert (await client.post(f"{CLUSTER}/transfer-leadership", {"node_id": B})).status == 200
    assert (await client.post(f"{CLUSTER}/transfer-leadership", {"node_id": None})).status == 200
    (await client.post(f"{CLUSTER}/transfer-leadership", {"node_id": "x"})).problem(400, "invalid_body")
    assert (await client.post(f"{CLUSTER}/transfer-leadership", {"node_id": B, "epoch": 7})).status == 200
    assert replica.transfers == [0xB2, None, 0xB2]
    assert replica.epochs == [None, None, 7]


async def test_only_admins_change_the_cluster(client: Client, replica: MemoryReplica, admins: Admins) -> None:
    admins.allowed = False

    for path in ("members", "bootstrap", "transfer-leadership"):
        (await client.post(f"{CLUSTER}/{path}", {})).problem(403, "forbidden")
    assert (await client.get(CLUSTER)).status == 200
    assert not replica.bootstrapped


async def test_an_idempotency_key_is_refused_where_it_would_not_protect(client: Client, replica: MemoryReplica) -> None:
    body = {"action": "remove", "node_id": B}

    (await client.post(f"{CLUSTER}/members", body, Idempotency_Key="k")).problem(400, "invalid_idempotency_key")
    assert replica.members_requests == []


async def test_redirect_of_cluster_requests(client: Client, replica: MemoryReplica) -> None:
    replica.known_leader = OTHER

    reply = await client.get(f"{CLUSTER}?redirect=true")

    assert (reply.status, reply.headers["Location"]) == (307, f"http://127.0.0.1:7410{CLUSTER}?redirect=true")


@pytest.mark.parametrize("path", ["members", "transfer-leadership"])
async def test_the_leader_alone_changes_the_cluster(client: Client, replica: MemoryReplica, path: str) -> None:
    """It must see itself that an operator asks: other members pass nothing on, and say where to ask."""
    replica.known_leader = OTHER

    reply = await client.post(f"{CLUSTER}/{path}", {"action": "remove", "node_id": B})

    assert (reply.status, reply.headers["Location"]) == (307, f"http://127.0.0.1:7410{CLUSTER}/{path}")
    assert (replica.members_requests, replica.transfers) == ([], [])


async def test_address_with_a_line_break_is_not_sent_as_a_header(client: Client, replica: MemoryReplica) -> None:
    """Older versions stored it."""
    replica.known_leader = msgspec.structs.replace(OTHER, http_address="http://h:1\r\nSet-Cookie: a=b")

    reply = await client.post(f"{CLUSTER}/members", {"action": "remove", "node_id": B})

    reply.problem(503, "no_leader")
    assert "Set-Cookie" not in reply.headers


async def test_probes_of_a_ready_node(client: Client) -> None:
    assert (await client.get("/livez")).json == {"alive": True}
    assert (await client.get("/readyz")).json == {"ready": True, "revision": 0}
    assert (await client.get("/health")).json["healthy"] is True
    assert (await client.get("/status")).json["node_id"] == A
    metrics = await client.get("/metrics", Accept="text/x")
    assert metrics.body == b"collectionstore_up 1\n"
    assert metrics.headers["Content-Type"] == "text/plain; version=1.0.0; for=text/x"


async def test_probes_of_a_node_without_a_leader(client: Client, replica: MemoryReplica) -> None:
    """It is alive, but neither ready nor healthy; its status can be read."""
    replica.known_leader = None
    replica.read_error = ReadTimedOut("late")

    assert (await client.get("/livez")).status == 200
    (await client.get("/readyz")).problem(503, "not_ready")
    (await client.get("/health")).problem(503, "no_leader")
    assert (await client.get("/status")).json["leader"] is None


async def test_readiness_has_a_budget_of_its_own(client: Client, replica: MemoryReplica) -> None:
    """A probe's caller waits a second or so, not the five of a client."""
    await client.get("/readyz")
    await client.get("/readyz?timeout=200ms")

    assert replica.timeouts_s == [1.0, 0.2]


async def test_the_metrics_port_serves_probes_only(replica: MemoryReplica, metrics: RecordedMetrics) -> None:
    server = make_probe_server(Store(replica, StoreLimits()), HttpLimits(), metrics, render_metrics=render_nothing)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        client = Client(session, runner.addresses[0][1])
        assert (await client.get("/readyz")).status == 200
        (await client.get("/api/v1/collections")).problem(404, "unknown_route")
    await runner.cleanup()
