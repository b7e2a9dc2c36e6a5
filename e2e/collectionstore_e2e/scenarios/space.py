"""A cluster that has no more space: it is read-only, says so, and takes data again by itself."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import condition
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import MEMBERS, Store, condition_text

FILL_S: Final = 240.0
REPORTED_S: Final = 60.0
QUOTA: Final = "256Mi"
REFUSALS: Final = 4
REFUSAL_PAUSE_S: Final = 2.0
"""So many refusals in a row, so far apart, show that nothing is being given back any more."""
WRITES_MAX: Final = 900
"""Of almost 1 MiB each: more than the quota, whatever is compressed."""

# Runs in a member's container, which has Python and the CA of the cluster, and talks to the member over loopback: for
# seconds after a restart, the member's DNS name is the address of the pod before. Prints the status of the last answer,
# how many were not refused, and the code of the problem.
REQUESTS: Final = """
import json, os, ssl, sys, urllib.error, urllib.request
method, path, count, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
tls = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
base = "https://localhost:7400"
done, status, code = 0, 0, ""
for number in range(count):
    body = os.urandom(size) if size else None
    headers = {"Content-Type": "application/octet-stream"} if size else {}
    url = f"{base}/api/v1/{path.format(number=number)}?timeout=20s"
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        status = urllib.request.urlopen(request, context=tls, timeout=30).status
        done += 1
    except urllib.error.HTTPError as refused:
        status, code = refused.status, json.loads(refused.read() or b"{}").get("code", "")
        if code == "insufficient_storage":
            break
print(json.dumps({"status": status, "done": done, "code": code}))
"""


# Lists the bucket, page by page, and deletes what it finds. Prints how many keys were deleted.
DELETE_ALL: Final = """
import json, ssl, urllib.request
tls = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
base = "https://localhost:7400/api/v1/kv/full"

def call(method, url):
    return json.load(urllib.request.urlopen(urllib.request.Request(url, method=method), context=tls, timeout=30))

deleted, cursor = 0, ""
while cursor is not None:
    page = call("GET", f"{base}?limit=1000&timeout=20s" + (f"&cursor={cursor}" if cursor else ""))
    for item in page["keys"]:
        call("DELETE", f"{base}/{item['key']}?timeout=20s")
        deleted += 1
    cursor = page["next_cursor"]
print(json.dumps({"deleted": deleted}))
"""

# Transactions of a few kB that would read 128 MiB each, from eight connections at once. Prints the answers by status.
TRANSACTIONS: Final = """
import collections, concurrent.futures, json, os, ssl, sys, urllib.error, urllib.request
tls = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
base = "https://localhost:7400"
gets = [{"op": "get", "bucket": "full", "key": str(number % 8)} for number in range(128)]
body = json.dumps({"then": gets}).encode()

def send(number):
    headers = {"Content-Type": "application/json", "Idempotency-Key": f"{os.getpid()}-{number}"}
    request = urllib.request.Request(f"{base}/api/v1/transactions?timeout=20s", body, headers, method="POST")
    try:
        return urllib.request.urlopen(request, context=tls, timeout=30).status
    except urllib.error.HTTPError as refused:
        return refused.status

with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(json.dumps(collections.Counter(pool.map(send, range(int(sys.argv[1]))))))
"""


async def _request(context: Context, member: str, method: str, path: str, *, count: int = 1, size: int = 0) -> Any:
    command = ("python3", "-c", REQUESTS, method, path, str(count), str(size))
    return json.loads(await context.kubectl.exec(member, *command, timeout_s=FILL_S))


async def _fill(context: Context, member: str) -> Any:
    """Write until refusals stay: at the first ones the log and its files give back what they can."""
    done = 0
    refusals = 0
    while refusals < REFUSALS:
        filled = await _request(
            context, member, "PUT", f"kv/full/{done}-{{number}}", count=WRITES_MAX - done, size=1_000_000
        )
        assert (filled["status"], filled["code"]) == (507, "insufficient_storage"), filled
        refusals = 0 if filled["done"] else refusals + 1
        done += filled["done"]
        await asyncio.sleep(REFUSAL_PAUSE_S)  # the members' disks decide, in other processes
    return filled | {"done": done}


@scenario(timeout_s=600)
async def a_quota_makes_the_cluster_read_only_until_data_is_deleted(context: Context) -> None:
    """With a memory limit of 512 MiB: writes of 1 MiB until the quota, 507, a condition, deletes, and writes again."""
    async with operator(context):
        store = Store(context)
        await store.apply(
            storage={"size": "512Mi", "quota": QUOTA},
            resources={"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        )
        await store.until_settled(3)
        member = MEMBERS[0]
        await _request(context, member, "PUT", "kv/full/{number}", count=8, size=1_000_000)
        answers = json.loads(await context.kubectl.exec(member, "python3", "-c", TRANSACTIONS, "40", timeout_s=FILL_S))
        context.say(f"transactions that read too much were answered {answers}")
        assert answers == {"422": 40}, answers

        filled = await _fill(context, member)
        context.say(f"{filled['done']} values of 1 MB, then {filled['status']} {filled['code']}")
        found = await store.until(
            lambda one: condition(one, "StorageAvailable") == "False", what="the condition", timeout_s=REPORTED_S
        )
        context.say(condition_text(found, "StorageAvailable"))
        assert "spec.storage.quota" in condition_text(found, "StorageAvailable")
        for other in MEMBERS:
            refused = await _request(context, other, "PUT", "kv/full/more", size=10)
            assert refused["code"] == "insufficient_storage", refused
            assert (await _request(context, other, "GET", "kv/full/0"))["status"] == 200

        await store.delete_pod(MEMBERS[2])
        assert (await _request(context, MEMBERS[2], "GET", "kv/full/0"))["status"] == 200, "restarted while it is short"

        deleted = json.loads(await context.kubectl.exec(member, "python3", "-c", DELETE_ALL, timeout_s=FILL_S))
        assert deleted["deleted"] == filled["done"] + 8, (deleted, filled)
        await store.until(
            lambda one: condition(one, "StorageAvailable") == "True", what="space again", timeout_s=REPORTED_S
        )
        assert (await _request(context, member, "PUT", "kv/full/again", size=10))["status"] == 201
        restarts = {
            name: pod["status"]["containerStatuses"][0]["restartCount"] for name, pod in (await store.pods()).items()
        }
        context.say(f"restarts of containers: {restarts}")
        assert not any(restarts.values()), restarts
