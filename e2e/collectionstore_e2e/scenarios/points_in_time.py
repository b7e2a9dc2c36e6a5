"""Restores to a point of the archived log: a revision, and a second; what comes back is compared byte for byte."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any, Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLUSTER, POD, SCHEDULE, Object, condition, is_ready
from collectionstore_e2e.harness.objects import claim
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import CHANGE_S, READY_S, Store
from collectionstore_e2e.scenarios.backups import VOLUME_REPOSITORY, schedule

DOCUMENTS: Final = 60
ARCHIVED_S: Final = 120.0
STATUS_PORT: Final = 7403
_CALLS: Final = """
import base64, json, ssl, sys, urllib.request
trust = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
trust.check_hostname = False
def call(path, method="GET", data=None):
    url = f"https://127.0.0.1:7400{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    return urllib.request.urlopen(request, timeout=30, context=trust)
items, values = "/api/v1/collections/items", "/api/v1/kv/values"
"""
CHANGE: Final = f"""{_CALLS}
# New documents, others replaced, some deleted, and values that are no text.
label, count = sys.argv[1], int(sys.argv[2])
call(items, "PUT", b"")
for number in range(count):
    body = json.dumps({{"of": label, "number": number, "text": "\\u00e4" * (number % 97)}}).encode()
    call(f"{{items}}/documents/{{label}}-{{number}}", "PUT", body)
    call(f"{{items}}/documents/shared-{{number}}", "PUT", body)
    call(f"{{values}}/{{number}}", "PUT", bytes([number % 256, 0, 255]) * 100 + label.encode())
for number in range(0, count, 3):
    revision = json.load(call(f"{{items}}/documents/shared-{{number}}", "DELETE"))["revision"]
print(revision)
"""
"""Prints the revision of its last write."""
EXPORT: Final = f"""{_CALLS}
def pages(path, key):
    cursor = ""
    while cursor is not None:
        page = json.load(call(f"{{path}}?limit=100{{cursor and '&cursor=' + cursor}}"))
        yield from page[key]
        cursor = page["next_cursor"]
found = {{}}
for one in pages(f"{{items}}/documents", "documents"):
    body = call(f"{{items}}/documents/{{one['id']}}").read()
    found[f"documents/{{one['id']}}"] = [one["revision"], base64.b64encode(body).decode()]
for one in pages(values, "keys"):
    body = call(f"{{values}}/{{one['key']}}").read()
    found[f"values/{{one['key']}}"] = [one["revision"], base64.b64encode(body).decode()]
print(json.dumps(found))
"""
"""Prints every document and value with its revision and its very bytes, by linearizable reads."""


APPLIED: Final = f"""{_CALLS}
call(items).read()
print(json.load(call("/status"))["applied_index"])
"""
"""Prints the last entry that the member has applied, once it has all that was acknowledged."""


@scenario(timeout_s=900)
async def a_cluster_comes_back_as_of_a_revision_and_as_of_a_second(context: Context) -> None:
    """The archived log is followed to a second, and to a revision: every document, value and revision is as it was
    then, byte for byte, and nothing of what came after.
    """
    async with operator(context):
        old = Store(context)
        await old.apply()
        await old.until_settled(3, timeout_s=READY_S)
        await context.client.apply(claim("backups", "64Mi"))
        await context.client.apply(
            schedule("log", VOLUME_REPOSITORY, schedule="0 0 1 1 *", immediate=True, archive=True)
        )
        await context.client.until_one(
            SCHEDULE,
            "log",
            lambda one: bool(one.get("status", {}).get("lastSuccessTime")) and condition(one, "Archiving") == "True",
            what="a backup, and an archive behind it",
            timeout_s=2 * CHANGE_S,
        )
        archive = await _archive(context)

        first_revision = await change(context, "first")
        first = await export(context, "demo-0")
        await _archived(context, archive)
        second = await _second_over()
        middle_revision = await change(context, "middle")
        middle = await export(context, "demo-0")
        await change(context, "last")
        last = await export(context, "demo-0")
        assert first != middle != last
        await _archived(context, archive)

        found = await _restored(context, "by-second", second)
        assert found == first, difference(found, first)
        context.say(f"as of {second}: {len(first)} documents and values, revision {first_revision}, byte for byte")
        found = await _restored(context, "by-revision", f"revision:{middle_revision}")
        assert found == middle, difference(found, middle)
        context.say(f"as of revision {middle_revision}: {len(middle)} documents and values, byte for byte")
        assert await export(context, "demo-0") == last, "the cluster that is backed up goes on as it was"
        await context.client.delete(SCHEDULE, "log")
        await context.client.until_gone(SCHEDULE, "log", timeout_s=CHANGE_S)


async def _restored(context: Context, name: str, point: str) -> dict[str, list[Any]]:
    """Make a cluster of the archive up to a point, return what it has, and delete it."""
    new = Store(context, name)
    await new.apply(bootstrap={"restore": {"repository": VOLUME_REPOSITORY, "to": point}})
    await new.until_settled(3, timeout_s=2 * CHANGE_S)
    exports = [await export(context, member) for member in sorted(await new.pods())]
    assert all(one == exports[0] for one in exports), "the members differ"
    await context.client.delete(CLUSTER, name)
    await context.client.until_gone(CLUSTER, name, timeout_s=CHANGE_S)
    return exports[0]


async def _archive(context: Context) -> str:
    """Return the name of the pod that archives."""

    def ready(pods: Any) -> list[Object]:
        return [one for name, one in pods.items() if name.startswith("log-archive-") and is_ready(one)]

    pods = await context.client.until(
        POD, lambda found: bool(ready(found)), what="the pod of the archive", timeout_s=CHANGE_S
    )
    return str(ready(pods)[0]["metadata"]["name"])


async def _archived(context: Context, pod: str) -> None:
    """Wait until the archive has stored everything that is acknowledged by now."""
    program = f"import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:{STATUS_PORT}/').read().decode())"
    wanted = int(await context.kubectl.exec("demo-0", "python3", "-c", APPLIED))
    async with asyncio.timeout(ARCHIVED_S):
        while True:
            told = json.loads(await context.kubectl.exec(pod, "python3", "-c", program))
            if told.get("archived_index", 0) >= wanted:
                return
            await asyncio.sleep(0.5)  # it announces nothing


async def _second_over() -> str:
    """Return this second, as soon as it is over: what is written from now on is later than it."""
    second = int(time.time())
    await asyncio.sleep(second + 1 - time.time())
    assert time.time() >= second + 1, "the clock was set back"
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def change(context: Context, label: str, *, pod: str = "demo-0") -> int:
    """Write and delete documents and values by a member; return the revision of the last write."""
    return int(await context.kubectl.exec(pod, "python3", "-c", CHANGE, label, str(DOCUMENTS), timeout_s=CHANGE_S))


async def export(context: Context, pod: str) -> dict[str, list[Any]]:
    """Return revision and bytes (base64) of each document and value, by its kind and name, as a member has them."""
    found: dict[str, list[Any]] = json.loads(
        await context.kubectl.exec(pod, "python3", "-c", EXPORT, timeout_s=CHANGE_S)
    )
    return found


def difference(found: dict[str, list[Any]], expected: dict[str, list[Any]]) -> str:
    """Return in which documents and values two exports differ."""
    names = [name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)]
    shown = {name: (found.get(name), expected.get(name)) for name in sorted(names)[:3]}
    return f"{len(names)} of {len(expected)} differ: {shown}"
