"""A new cluster that begins with the backup of another one, made by resources alone."""

from __future__ import annotations

import json
from typing import Any, Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import BACKUP, CLUSTER, Object, condition
from collectionstore_e2e.harness.objects import claim
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import CHANGE_S, MEMBERS, READY_S, Store
from collectionstore_e2e.scenarios.recovery import GRACE_S, lose

CLAIM_NAME: Final = "backups"
REPOSITORY: Final = {"url": "file:///repository/demo", "claimName": CLAIM_NAME}
DOCUMENTS: Final = 200
SAID_S: Final = 120.0
"""Until a failed restore is in the status: its pod starts, and fails once."""
CALLS: Final = """
import json, ssl, sys, urllib.request
trust = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
trust.check_hostname = False
def call(path, method="GET", body=None):
    url = f"https://127.0.0.1:7400/api/v1/collections{path}"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    return json.load(urllib.request.urlopen(request, timeout=30, context=trust))
"""
WRITE: Final = f"""{CALLS}
call("/items", "PUT")
for number in range(int(sys.argv[1])):
    call(f"/items/documents/d{{number}}", "PUT", {{"number": number, "text": "x" * (number % 97)}})
"""
READ: Final = f"""{CALLS}
found, cursor = {{}}, ""
while cursor is not None:
    page = call(f"/items/documents?limit=100{{cursor and '&cursor=' + cursor}}")
    found |= {{one["id"]: one["document"] for one in page["documents"]}}
    cursor = page["next_cursor"]
print(json.dumps({{"documents": found, "revision": page["revision"]}}))
"""
"""Every document that a member serves, by linearizable reads."""


@scenario(timeout_s=600)
async def a_new_cluster_begins_with_a_backup(context: Context) -> None:
    """It has the documents of the backup, higher revisions and an identity of its own, and all members join."""
    async with operator(context):
        old, new, wrong = Store(context), Store(context, "copy"), Store(context, "wrong")
        await old.apply()
        await old.until_settled(3, timeout_s=READY_S)
        await context.kubectl.exec("demo-0", "python3", "-c", WRITE, str(DOCUMENTS), timeout_s=CHANGE_S)
        await context.client.apply(claim(CLAIM_NAME))
        await context.client.apply(_backup())
        made = await context.client.until_one(
            BACKUP, "one", lambda one: condition(one, "Complete") == "True", what="a backup", timeout_s=CHANGE_S
        )
        kept = await _export(context, "demo-0")
        assert len(kept["documents"]) == DOCUMENTS
        nowhere = {"url": "file:///repository/nothing", "claimName": CLAIM_NAME}
        await wrong.apply(bootstrap={"restore": {"repository": nowhere}})
        found = await wrong.until(lambda one: bool(_why(one)), what="why it is not restored", timeout_s=SAID_S)
        context.say(_why(found))
        assert "BackupNotFound" in _why(found)
        await context.client.delete(CLUSTER, "wrong")
        await new.apply(bootstrap={"restore": {"repository": REPOSITORY}})
        found = await new.until_settled(3, timeout_s=CHANGE_S)
        restored = await _export(context, "copy-0")
        assert restored["documents"] == kept["documents"]
        assert restored["revision"] > made["status"]["revision"]
        assert found["status"]["clusterID"] != (await old.read())["status"]["clusterID"]
        pods = await new.pods()
        later = [one for name, one in pods.items() if name != "copy-0"]
        assert not [one for one in later if one["spec"].get("initContainers")], "only the first member is restored"
        # It is a cluster like any other from now on: a pod of it that starts again restores nothing.
        await new.delete_pod("copy-0")
        await new.until_settled(3, timeout_s=CHANGE_S)
        assert (await _export(context, "copy-0"))["documents"] == kept["documents"]
        assert not (await new.pods())["copy-0"]["spec"].get("initContainers")


@scenario(timeout_s=600, long=True)
async def a_backup_replaces_what_a_cluster_has(context: Context) -> None:
    """In place, after an acknowledgement; then again when every claim is gone. What was is kept, revisions rise."""
    async with operator(context):
        store = Store(context)
        await store.apply(failedMember={"graceSeconds": GRACE_S})
        first = await store.until_settled(3, timeout_s=READY_S)
        await context.kubectl.exec("demo-0", "python3", "-c", WRITE, str(DOCUMENTS), timeout_s=CHANGE_S)
        await context.client.apply(claim(CLAIM_NAME))
        await context.client.apply(_backup())
        await context.client.until_one(
            BACKUP, "one", lambda one: condition(one, "Complete") == "True", what="a backup", timeout_s=CHANGE_S
        )
        kept = await _export(context, "demo-0")
        await context.kubectl.exec("demo-0", "python3", "-c", WRITE, str(2 * DOCUMENTS), timeout_s=CHANGE_S)
        later = await _export(context, "demo-0")
        assert len(later["documents"]) == 2 * DOCUMENTS

        # Asked for, and not acknowledged: the cluster works on as it is.
        await store.change(restore={"repository": REPOSITORY})
        found = await store.until(_offered, what="an offer", timeout_s=SAID_S)
        context.say(_told(found)["message"])
        assert found["status"]["clusterID"] == first["status"]["clusterID"]
        assert len((await _export(context, "demo-0"))["documents"]) == 2 * DOCUMENTS
        second = await _acknowledged(context, store, _told(found)["nonce"], kept["documents"], later["revision"])
        assert second["status"]["clusterID"] != first["status"]["clusterID"]
        assert len(_told(second)["oldVolumes"]) == 3, _told(second)

        # Every claim is lost: no member answers, and the guide names the restore.
        revision = (await _export(context, "demo-0"))["revision"]
        await store.change(restore=None)
        await lose(context, list(MEMBERS))
        found = await store.until(
            lambda one: "no disk survives" in (one["status"].get("recovery") or {}).get("message", ""),
            what="the loss of every disk",
            timeout_s=CHANGE_S,
        )
        context.say(found["status"]["recovery"]["message"])
        source = {"repository": REPOSITORY, "sourceCluster": first["status"]["clusterID"]}
        await store.change(restore=source)
        found = await store.until(_offered, what="an offer", timeout_s=SAID_S)
        third = await _acknowledged(context, store, _told(found)["nonce"], kept["documents"], revision)
        assert third["status"]["clusterID"] not in (first["status"]["clusterID"], second["status"]["clusterID"])


async def _acknowledged(context: Context, store: Store, nonce: str, documents: dict[str, Any], above: int) -> Object:
    """Acknowledge a restore; return the resource when the cluster has those documents, and revisions above."""
    await store.change(restore={"nonce": nonce})
    await store.until(lambda one: _told(one).get("phase") == "Finished", what="Finished", timeout_s=CHANGE_S)
    found = await store.until_settled(3, timeout_s=CHANGE_S)
    for name in MEMBERS:
        restored = await _export(context, name)
        assert restored["documents"] == documents, name
        assert restored["revision"] > above, (restored["revision"], above)
    assert not [name for name, one in (await store.pods()).items() if one["spec"].get("schedulingGates")]
    return found


def _offered(found: Object) -> bool:
    """Whether a restore waits for its acknowledgement; an earlier one, which is over, has a nonce too."""
    return _told(found).get("phase") == "Offered"


def _told(found: Object) -> dict[str, Any]:
    told: dict[str, Any] = found.get("status", {}).get("restore") or {}
    return told


def _backup() -> Object:
    resources = {"requests": {"cpu": "20m", "memory": "64Mi"}}
    spec = {"clusterName": "demo", "repository": REPOSITORY, "resources": resources}
    return {"apiVersion": BACKUP.api_version, "kind": BACKUP.name, "metadata": {"name": "one"}, "spec": spec}


def _why(found: Object) -> str:
    """Return what the condition Available says of a restore that failed; empty while it says nothing of one."""
    for one in found.get("status", {}).get("conditions", ()):
        if one["type"] == "Available" and one["reason"] == "RestoreFailed":
            return str(one["message"])
    return ""


async def _export(context: Context, pod: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(await context.kubectl.exec(pod, "python3", "-c", READ, timeout_s=CHANGE_S))
    return found
