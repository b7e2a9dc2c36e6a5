"""Partitions of one side only: a node without the API server but with its peers, and the reverse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from collectionstore_e2e.clients.pod import Clients, clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import NODE, POD, condition, is_ready
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text

PAUSE_S: Final = 8.0
"""Longest time without an acknowledged write during an election, on a busy machine."""
NODE_LOSS_S: Final = 12.0
"""The same if connections to the lost node end only by their timeout."""
MARKED_S: Final = 90.0
"""Until the node is NotReady (10 s), and its pods are to be evicted (15 s)."""
SERVED_S: Final = 10.0
"""For so long the member goes on to apply what is written after it was given up by Kubernetes."""
METRICS_PORT: Final = 7402
TRANSFER: Final = "collectionstore.io/transfer-leader"

# In the pod of the member: a linearizable read, which needs a majority. What it is answered, and when.
READ: Final = """
import json, ssl, urllib.error, urllib.request
tls = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
url = "https://localhost:7400/api/v1/kv/any/key?timeout=5s"
try:
    with urllib.request.urlopen(url, context=tls, timeout=30) as answer:
        print(json.dumps({"status": answer.status, "code": ""}))
except urllib.error.HTTPError as error:
    print(json.dumps({"status": error.code, "code": json.loads(error.read()).get("code", "")}))
"""


@scenario(timeout_s=420, needs_machines=True, long=True)
async def a_member_without_the_api_server_goes_on_serving(context: Context) -> None:
    """The leader's node is cut from the API server only: its pod is given up, the member votes and applies all along.

    It is not replaced: it answers the operator. Once the node is back, the pod starts again as the same member.
    """
    async with _spread(context) as (store, load, leader, cut):
        members, began = await store.members(), load.now
        uid = (await store.pods())[leader]["metadata"]["uid"]
        await context.own_machines.cut_from_api_server(cut)
        await context.client.until_one(
            NODE, cut, lambda one: condition(one, "Ready") == "Unknown", what="Ready=Unknown", timeout_s=MARKED_S
        )
        await context.client.until_one(
            POD, leader, lambda one: "deletionTimestamp" in one["metadata"], what="given up", timeout_s=MARKED_S
        )
        before, until = await _revision(context, leader), load.now + SERVED_S
        await load.until(
            lambda seen: seen.totals.at >= until, what=f"{SERVED_S:.0f} s of the clients", timeout_s=3 * SERVED_S
        )
        after = await _revision(context, leader)
        context.say(f"{leader} on {cut} was given up, and applied {after - before} writes in {SERVED_S:.0f} s")
        assert after > before, f"{leader} applies nothing: {before} is its last revision"
        await load.say_pauses(f"{cut} cut from the API server", began, longest_s=PAUSE_S)
        assert await store.members() == members, "a member that serves was replaced"
        assert (await store.pods())[leader]["metadata"]["uid"] == uid
        await context.own_machines.rejoin(cut)
        await store.until_settled(3)
        assert await store.members() == members, "a member has another node ID"
        await load.say_pauses("from the partition to the end", began, longest_s=PAUSE_S)


@scenario(timeout_s=420, needs_machines=True, long=True)
async def a_leader_without_its_peers_answers_nothing_stale(context: Context) -> None:
    """The leader's node is cut from the others but not from the API server: it is Ready for Kubernetes, and yet another
    leader is elected, Degraded names the member, and it refuses to read.
    """
    async with _spread(context) as (store, load, leader, cut):
        members, began = await store.members(), load.now
        assert (await _read(context, leader))["status"] in (200, 404)
        await context.own_machines.cut_from_nodes(cut)
        await load.say_pauses(f"{cut} cut from the others, node of leader {leader}", began, longest_s=NODE_LOSS_S)
        await store.until(lambda one: one["status"]["leader"] not in ("", leader), what="another leader")
        refused = await _read(context, leader)
        assert refused["status"] in (503, 504), f"{leader} answers a linearizable read without a majority: {refused}"
        await context.client.until_one(POD, leader, lambda one: not is_ready(one), what="not Ready", timeout_s=MARKED_S)
        found = await store.until(lambda one: leader in condition_text(one, "Degraded"), what="Degraded to name it")
        node = await context.client.get(NODE, cut)
        assert is_ready(node), f"the API server lost {cut}: the scenario tested nothing"
        context.say(f"{leader}: {refused['status']} {refused['code']}; {condition_text(found, 'Degraded')}")
        await context.own_machines.rejoin(cut)
        await store.until_settled(3)
        assert await store.members() == members, "a member has another node ID"
        await load.say_pauses("from the partition to the end", began, longest_s=NODE_LOSS_S)


@asynccontextmanager
async def _spread(context: Context) -> AsyncIterator[tuple[Store, Clients, str, str]]:
    """Make a cluster with a member on each node; yield it, its clients, its leader, and the leader's node.

    Operator and clients are on another node, which is never cut.
    """
    stays = context.own_machines.names[0]
    async with operator(context, f"--set=nodeSelector.kubernetes\\.io/hostname={stays}"):
        store = Store(context)
        await store.apply(spread={"nodes": "Required"})
        await store.until_settled(3, timeout_s=READY_S)
        leader, cut = await _lead_elsewhere(context, store, stays)
        async with clients(context, node=stays) as load:
            yield store, load, leader, cut


async def _lead_elsewhere(context: Context, store: Store, stays: str) -> tuple[str, str]:
    """Return the leader and its node, which is another one than `stays`: if need be after a transfer."""
    nodes = {name: str(one["spec"]["nodeName"]) for name, one in (await store.pods()).items()}
    assert len(set(nodes.values())) == 3, nodes
    if nodes[await store.leader()] == stays:
        await context.kubectl("annotate", "csc", store.name, f"{TRANSFER}=any")
        await store.until(
            lambda one: nodes.get(one["status"]["leader"], stays) != stays, what="a leader elsewhere", timeout_s=READY_S
        )
        await store.until_settled(3)
    leader = await store.leader()
    return leader, nodes[leader]


async def _revision(context: Context, member: str) -> int:
    """Return the revision that a member has applied. The API server asks its pod: not by way of the kubelet."""
    return int(json.loads(await context.client.ask_pod(member, METRICS_PORT, "/status"))["revision"])


async def _read(context: Context, member: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(await context.kubectl.exec(member, "python3", "-c", READ))
    return said
