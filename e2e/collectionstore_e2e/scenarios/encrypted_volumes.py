"""Volumes whose data is encrypted: by a rolling restart, under load, and again under another key."""

from __future__ import annotations

import base64
import os
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLUSTER, SECRET, Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store

ROOT: Final = "/var/lib/collectionstore"
KEYS: Final = "/etc/collectionstore/encryption-keys"
RESTART: Final = "collectionstore.io/restart"
MARKER: Final = "d2b5f1c8-nobody-else-reads-this"
SEALED_S: Final = 600.0
LOADED_S: Final = 240.0
"""Twice the two minutes in which a kubelet updates a mounted Secret."""
PUT: Final = """
import json, ssl, sys, urllib.request
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def ask(method, path, body):
    request = urllib.request.Request("https://127.0.0.1:7400/api/v1/" + path, body, method=method)
    request.add_header("Content-Type", "application/json")
    return urllib.request.urlopen(request, context=context, timeout=30).read()
if sys.argv[1] == "put":
    ask("PUT", "collections/secrets", b"")
    for number in range(50):
        ask("PUT", f"collections/secrets/documents/{number}", json.dumps({"text": sys.argv[2]}).encode())
else:
    for number in range(50):
        assert json.loads(ask("GET", f"collections/secrets/documents/{number}", None)) == {"text": sys.argv[2]}
"""
"""Puts documents with a text, or reads them."""
FOUND: Final = f"""
import pathlib, sys
count = 0
for one in pathlib.Path("{ROOT}/data").rglob("*"):
    try:
        count += one.is_file() and sys.argv[1].encode() in one.read_bytes()
    except FileNotFoundError:
        pass  # a table file that a compaction has replaced
print(count)
"""
"""Prints in how many files of a member a text is."""
WAITED: Final = f"""
import pathlib, sys, time
until = time.monotonic() + {LOADED_S}
while not (pathlib.Path("{KEYS}") / sys.argv[1]).exists():
    time.sleep(1) if time.monotonic() < until else sys.exit("the key has not arrived")
"""
"""Waits until a key is in a member's volume."""


@scenario(timeout_s=1_500, long=True)
async def volumes_are_encrypted_by_a_rolling_restart(context: Context) -> None:
    """What was on them in the clear is gone, no request fails, and an old key is not needed behind a new one."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        await context.kubectl.exec(MEMBERS[0], "python3", "-c", PUT, "put", MARKER)
        assert await _files(context) > 0, "the text is on no disk: nothing would be shown by its absence"

        await context.client.create({**_secret("2026-01"), "apiVersion": "v1", "kind": "Secret"})
        async with clients(context) as load:
            await load.working()
            await store.change(storage={"encryption": {"secretName": "keys"}})
            await store.until_settled(3, timeout_s=SEALED_S)
            assert await _files(context) == 0, "a member has the text in the clear"
            await _readable(context)

            await context.client.patch(SECRET, "keys", _secret("2026-02"))
            for member in MEMBERS:
                await context.kubectl.exec(member, "python3", "-c", WAITED, "2026-02", timeout_s=LOADED_S + 60)
            before = {one["metadata"]["uid"] for one in (await store.pods()).values()}
            restart = {"metadata": {"annotations": {RESTART: "2026-02"}}}
            await context.client.patch(CLUSTER, store.name, restart)
            await store.until_pods(
                lambda pods: len(pods) == 3 and before.isdisjoint(one["metadata"]["uid"] for one in pods.values()),
                what="all pods replaced",
                timeout_s=SEALED_S,
            )
            await store.until_settled(3, timeout_s=SEALED_S)
            await load.working()
        for member in MEMBERS:
            keys = await context.kubectl.exec(member, "cat", f"{ROOT}/data/KEYS")
            assert "2026-02" in keys, keys
            assert "2026-01" not in keys, keys

        await context.client.patch(SECRET, "keys", {"data": {"2026-01": None}})
        await store.delete_pod(MEMBERS[1])
        await store.until_settled(3)
        await _readable(context)


async def _files(context: Context) -> int:
    """Return in how many files of all members the text is."""
    found = [await context.kubectl.exec(member, "python3", "-c", FOUND, MARKER) for member in MEMBERS]
    return sum(map(int, found))


async def _readable(context: Context) -> None:
    for member in MEMBERS:
        await context.kubectl.exec(member, "python3", "-c", PUT, "get", MARKER)


def _secret(name: str) -> Object:
    return {"metadata": {"name": "keys"}, "data": {name: base64.b64encode(os.urandom(32)).decode()}}
