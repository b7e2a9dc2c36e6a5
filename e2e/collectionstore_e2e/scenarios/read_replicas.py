"""Read replicas: up, read within a bound under load, one cut off from its peers, more voters, down to none."""

from __future__ import annotations

import json
from typing import Any, Final

from collectionstore_e2e.clients.pod import NAME as CLIENTS
from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import (
    DISRUPTION_BUDGET,
    ENDPOINT_SLICE,
    POD,
    SERVICE,
    STATEFUL_SET,
    Object,
    condition,
    is_ready,
)
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import CHANGE_S, MEMBERS, READY_S, Store, is_settled

GROUP: Final = "demo-read"
VICTIM: Final = f"{GROUP}-0"
BOUND_S: Final = 3
READS: Final = 60

# In the clients' pod: writes through the Service of the voters, reads through that of the read replicas. A read that
# began later after the acknowledgement than its bound must see the write; what a younger one sees is not checked.
READER: Final = """
import json, ssl, sys, time, urllib.request
voters, reads, number, bound_ms = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
tls = ssl.create_default_context(cafile="/trust/ca.crt")
def send(method, url, body=None):
    request = urllib.request.Request(url, method=method, data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, context=tls, timeout=10) as answer:
        return answer.headers, answer.read()
send("PUT", f"{voters}/api/v1/collections/bounded")
wrong, by, worst = [], {}, 0
for value in range(number):
    send("PUT", f"{voters}/api/v1/collections/bounded/documents/d", json.dumps({"value": value}).encode())
    time.sleep(bound_ms / 1000 + 0.01)
    url = f"{reads}/api/v1/collections/bounded/documents/d?consistency=stale&max_staleness={bound_ms}ms"
    headers, body = send("GET", url)
    seen = json.loads(body)["value"]
    if seen != value:
        wrong.append([value, seen])
    by[headers["X-Served-By"]] = by.get(headers["X-Served-By"], 0) + 1
    worst = max(worst, int(headers["X-Staleness-Ms"]))
print(json.dumps({"wrong": wrong, "by": by, "worst_ms": worst}))
"""

# In the pod of a read replica: what it answers itself, whatever reaches it from outside.
LOCAL: Final = """
import json, ssl, urllib.error, urllib.request
tls = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
url = "https://localhost:7400/api/v1/collections/bounded/documents/d?consistency=stale"
try:
    with urllib.request.urlopen(url, context=tls, timeout=20) as answer:
        print(json.dumps({"status": answer.status, "code": ""}))
except urllib.error.HTTPError as error:
    print(json.dumps({"status": error.code, "code": json.loads(error.read())["code"]}))
"""


@scenario(timeout_s=780, needs_machines=True, exclusive=False)
async def read_replicas_serve_within_their_bound(context: Context) -> None:
    """Two read replicas serve bounded reads under load; one that is cut off drops out and refuses; down to none."""
    async with operator(context):
        store = Store(context)
        await store.apply(readReplicas=2, readReplicaMaxStalenessSeconds=BOUND_S)
        await store.until(lambda one: _settled(one, 3, 2), what="two read replicas", timeout_s=READY_S + CHANGE_S)
        budget = await context.client.get(DISRUPTION_BUDGET, GROUP)
        assert budget["spec"]["maxUnavailable"] == 1, budget["spec"]
        async with clients(context) as load:
            first = await store.members()
            assert {name for name in first if name.startswith(GROUP)} == {VICTIM, f"{GROUP}-1"}, first
            await _read_within_bound(context)
            await _cut_off(context, store)
            await load.working()

            await _scale_as_an_autoscaler(context, store)
            # More fault tolerance is asked of the voters: a read replica is not promoted, new members are.
            await store.scale(5)
            found = await store.until(lambda one: _settled(one, 5, 2), what="five voters and two read replicas")
            voters = found["status"]["configuration"]["voters"]
            assert sorted(voters) == [*MEMBERS, "demo-3", "demo-4"], voters
            roles = {one["name"]: one["role"] for one in found["status"]["members"]}
            assert roles[VICTIM] == "ReadReplica", roles

            await store.change(readReplicas=0)
            found = await store.until(lambda one: _settled(one, 5, 0), what="no read replicas")
            assert not found["status"]["configuration"]["learners"], found["status"]["configuration"]
            for kind in (STATEFUL_SET, SERVICE, DISRUPTION_BUDGET):
                await context.client.until_gone(kind, GROUP, timeout_s=CHANGE_S)
            await load.working()


async def _read_within_bound(context: Context) -> None:
    url = f"https://{{}}.{context.namespace}.svc:7400"
    arguments = [url.format("demo"), url.format(GROUP), str(READS), "400"]
    text = await context.kubectl.exec(CLIENTS, "python3", "-c", READER, *arguments, timeout_s=180)
    said: dict[str, Any] = json.loads(text)
    context.say(f"{READS} reads within 400 ms: by {said['by']}, staleness at most {said['worst_ms']} ms")
    assert not said["wrong"], f"reads that missed an older write: {said['wrong']}"
    assert set(said["by"]) <= {VICTIM, f"{GROUP}-1"}, said["by"]


async def _cut_off(context: Context, store: Store) -> None:
    """Cut one from all others: it leaves the Service, refuses stale reads, and returns."""
    pod = await context.client.get(POD, VICTIM)
    node, address = pod["spec"]["nodeName"], pod["status"]["podIP"]
    before = await _answer(context)
    assert before["status"] == 200, before
    await context.own_machines.mute(node, address)
    try:
        await context.client.until_one(
            POD, VICTIM, lambda one: not is_ready(one), what="not Ready", timeout_s=BOUND_S + 30
        )
        await _until_served_by(context, {f"{GROUP}-1"})
        refused = await _answer(context)
        assert (refused["status"], refused["code"]) == (503, "too_stale"), refused
        found = await store.until(lambda one: _ready_reads(one) == 1, what="one read replica in the status")
        for kind in ("Available", "QuorumSafe"):
            assert condition(found, kind) == "True", found["status"]["conditions"]
        context.say(f"cut off: not Ready, {refused['status']} {refused['code']}, the quorum is as it was")
    finally:
        await context.own_machines.unmute(node, address)
    await context.client.until_one(POD, VICTIM, is_ready, what="Ready again", timeout_s=READY_S)
    await _until_served_by(context, {VICTIM, f"{GROUP}-1"})


async def _scale_as_an_autoscaler(context: Context, store: Store) -> None:
    """Scale the StatefulSet, as a HorizontalPodAutoscaler does: up, down, and beyond the range."""
    await store.change(readReplicasMax=4, readReplicas=1)
    for asked, number in ((3, 3), (1, 1), (7, 4)):
        await context.kubectl("scale", f"statefulset/{GROUP}", f"--replicas={asked}")
        found = await store.until(
            lambda one, number=number: _settled(one, 3, number),  # type: ignore[misc]
            what=f"{number} read replicas, {asked} asked for",
        )
        learners = found["status"]["configuration"]["learners"]
        assert sorted(learners) == [f"{GROUP}-{one}" for one in range(number)], learners
    await store.change(readReplicasMax=None, readReplicas=2)
    await store.until(lambda one: _settled(one, 3, 2), what="two read replicas again")
    context.say("scaled by its StatefulSet to 3, 1 and, within the range, 4")


async def _answer(context: Context) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(await context.kubectl.exec(VICTIM, "python3", "-c", LOCAL))
    return said


async def _until_served_by(context: Context, names: set[str]) -> None:
    def holds(slices: Any) -> bool:
        endpoints = [one for found in slices.values() for one in found.get("endpoints") or ()]
        ready = {one["targetRef"]["name"] for one in endpoints if one["conditions"].get("ready")}
        return ready == names

    label = f"kubernetes.io/service-name={GROUP}"
    what = f"the Service {GROUP} with {', '.join(sorted(names))}"
    await context.client.until(ENDPOINT_SLICE, holds, what=what, timeout_s=READY_S, labels=label)


def _settled(found: Object, replicas: int, reads: int) -> bool:
    return is_settled(found, replicas) and _ready_reads(found) == reads and not found["status"].get("plan")


def _ready_reads(found: Object) -> int:
    return int(found.get("status", {}).get("readyReadReplicas", 0))
