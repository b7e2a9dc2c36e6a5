"""Backups as resources: under load, to a volume and to S3, with everything that goes wrong said in time."""

from __future__ import annotations

from typing import Any, Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import BACKUP, CLAIM, JOB, POD, SCHEDULE, SECRET, VOLUME, Object, condition
from collectionstore_e2e.harness.objects import claim, container, pod, pod_spec
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import Operator, operator
from collectionstore_e2e.product.object_store import BUCKET, ObjectStore, credentials, object_store
from collectionstore_e2e.product.store import READY_S, Store, condition_text

DONE_S: Final = 180.0
"""Time limit for a backup of a small cluster, on a busy machine."""
DEADLINE_S: Final = 120
"""Of backups that cannot succeed."""
SAID_S: Final = DEADLINE_S + 60.0
"""Time limit for their failure to be in the status: the deadline, and how long a busy machine needs to end a pod."""
VOLUME_REPOSITORY: Final = {"url": "file:///repository/demo", "claimName": "backups"}
KEY: Final = "00112233445566778899aabbccddeeff" * 2


def backup(name: str, repository: Object, **spec: Any) -> Object:
    """Return a CollectionStoreBackup."""
    return _resource(BACKUP.name, name, {"repository": repository, "resources": _SMALL, **spec})


def schedule(name: str, repository: Object, **spec: Any) -> Object:
    """Return a CollectionStoreBackupSchedule, of every minute."""
    given = {"schedule": "* * * * *", "repository": repository, "resources": _SMALL}
    return _resource(SCHEDULE.name, name, {**given, **spec})


_SMALL: Final = {"requests": {"cpu": "20m", "memory": "64Mi"}}


def _resource(kind: str, name: str, spec: Object) -> Object:
    fields = {"clusterName": "demo", **spec}
    return {"apiVersion": BACKUP.api_version, "kind": kind, "metadata": {"name": name}, "spec": fields}


async def ended(context: Context, name: str, *, timeout_s: float = DONE_S) -> Object:
    """Wait until a backup is complete or has failed, and return it."""
    found = await context.client.until_one(
        BACKUP,
        name,
        lambda one: "True" in (condition(one, "Complete"), condition(one, "Failed")),
        what="an end",
        timeout_s=timeout_s,
    )
    context.say(f"{name}: {condition_text(found, 'Complete' if succeeded(found) else 'Failed')}")
    return found


def succeeded(found: Object) -> bool:
    """Return whether a backup is complete; it never is and has failed."""
    assert {condition(found, "Complete"), condition(found, "Failed")} == {"True", "False"}, found["status"]
    return condition(found, "Complete") == "True"


def reason(found: Object, kind: str) -> str:
    """Return the reason of a condition."""
    return next(str(one["reason"]) for one in found["status"]["conditions"] if one["type"] == kind)


@scenario(timeout_s=900, needs_machines=True, exclusive=False)
async def backups_under_load_are_complete_verified_and_restorable(context: Context) -> None:
    """To a volume and, encrypted, to S3, while clients write; a schedule archives, prunes and tries a restore."""
    async with operator(context) as product, object_store(context) as store:
        await _cluster(context)
        await context.client.apply(claim("backups"))
        await context.client.apply(
            {"apiVersion": "v1", "kind": SECRET.name, "metadata": {"name": "key"}, "stringData": {"key": KEY}}
        )
        async with clients(context):
            await context.client.apply(backup("to-volume", VOLUME_REPOSITORY))
            encrypted = {**store.repository("store", "hand"), "encryptionKey": {"secretName": "key"}}
            await context.client.apply(backup("to-s3", encrypted, deletionPolicy="Delete"))
            for name in ("to-volume", "to-s3"):
                found = await ended(context, name)
                assert succeeded(found), found["status"]
                assert found["status"]["revision"] > 0
                assert len(found["status"]["digest"]) == 64
            await context.client.apply(
                schedule(
                    "often",
                    store.repository("store", "often"),
                    immediate=True,
                    archive=True,
                    drill="* * * * *",
                    retention={"keepLast": 1},
                )
            )
            await _achieved(context, store, product)
        await _data_go_with_the_resource(context, store)
        await context.client.delete(SCHEDULE, "often")
        await context.client.until_gone(SCHEDULE, "often", timeout_s=DONE_S)


async def _achieved(context: Context, store: ObjectStore, product: Operator) -> None:
    """Wait until the schedule has made two backups, pruned the first, verified one, and the archive follows."""

    def holds(one: Object) -> bool:
        status = one.get("status", {})
        return bool(
            status.get("lastVerified")
            and status.get("prunedBehind")
            and condition(one, "Archiving") == "True"
            and condition(one, "Ready") == "True"
        )

    found = await context.client.until_one(SCHEDULE, "often", holds, what="everything achieved", timeout_s=420)
    first = found["status"]["lastSuccessBackup"]
    context.say(
        f"verified {found['status']['lastVerifiedBackup']}, restore {found['status']['timeToRestoreSeconds']} s"
    )
    later = await context.client.until_one(
        SCHEDULE,
        "often",
        lambda one: (
            one["status"]["lastSuccessBackup"] > first
            and one["status"]["prunedBehind"] == one["status"]["lastSuccessName"]
        ),
        what="a second backup, and the first one pruned",
        timeout_s=300,
    )
    keys = await store.keys("often")
    kept = {key.split("/")[2] for key in keys if key.startswith("often/backups/") and key.endswith("manifest.json")}
    assert first not in kept, f"{first} was not pruned: {kept}"
    assert later["status"]["lastSuccessBackup"] in kept, f"the newest backup is gone: {kept}"
    assert any(key.startswith("often/log/") for key in keys), "no segment of the log is archived"
    sizes = await product.counters("collectionstore_backup_size_bytes")
    assert any(value > 0 for value in sizes.values()), sizes


async def _data_go_with_the_resource(context: Context, store: ObjectStore) -> None:
    assert await store.keys("hand"), "the backup by hand is not in the store"
    await context.client.delete(BACKUP, "to-s3")
    await context.client.until_gone(BACKUP, "to-s3", timeout_s=DONE_S)
    left = await store.keys("hand")
    assert not left, f"{len(left)} objects are left of a backup that was deleted with its resource: {left[:3]}"
    await context.client.delete(BACKUP, "to-volume")
    await context.client.until_gone(BACKUP, "to-volume", timeout_s=DONE_S)


@scenario(timeout_s=900, needs_machines=True, exclusive=False)
async def a_backup_that_cannot_be_stored_says_why_in_time(context: Context) -> None:
    """Store unreachable, wrong credentials, no bucket, full, corrupt, no Secret: never a success, and never late."""
    async with operator(context), object_store(context) as store:
        await _cluster(context)
        await credentials(context, "wrong", "AKIAWRONG", "wrong")
        nowhere = store.repository("store")
        nowhere["options"] = {**nowhere["options"], "endpoint": "http://10.213.0.254:1"}
        no_bucket = {**store.repository("store"), "url": "s3://no-such-bucket/demo"}
        await _small_volume(context, "small", "4k")
        cases = {
            "unreachable": (nowhere, {"StoreUnreachable", "DeadlineExceeded"}),
            "credentials": (store.repository("wrong"), {"CredentialsRefused"}),
            "no-bucket": (no_bucket, {"Refused"}),
            "full": ({"url": "file:///repository/demo", "claimName": "small"}, {"StoreFull", "DeadlineExceeded"}),
            "no-secret": (store.repository("no-such-secret"), {"DeadlineExceeded"}),
        }
        for name, (repository, _) in cases.items():
            await context.client.apply(backup(name, repository, deadlineSeconds=DEADLINE_S))
        for name, (_, reasons) in cases.items():
            found = await ended(context, name, timeout_s=SAID_S)
            assert not succeeded(found), f"{name}: a false success: {found['status']}"
            assert reason(found, "Failed") in reasons, found["status"]["conditions"]
            assert not found["status"]["backupID"], found["status"]
        for name, word in (("unreachable", "StoreUnreachable"), ("full", "StoreFull"), ("no-secret", "no-such-secret")):
            text = condition_text(await context.client.get(BACKUP, name), "Failed")
            assert word in text or reason(await context.client.get(BACKUP, name), "Failed") == word, text
        assert not await store.keys("demo"), "something that failed left objects"
        await _corrupt(context)


async def _corrupt(context: Context) -> None:
    """Damage a stored backup: the drill says so, and nothing passes for verified."""
    await context.client.apply(claim("backups"))
    once = schedule("damaged", VOLUME_REPOSITORY, schedule="0 0 1 1 *", immediate=True)
    await context.client.apply(once)
    await context.client.until_one(
        SCHEDULE,
        "damaged",
        lambda one: bool(one.get("status", {}).get("lastSuccessTime")),
        what="a backup",
        timeout_s=DONE_S,
    )
    flip = (
        "import glob; name = glob.glob('/repository/demo/backups/*/data/00000000.part')[0]; "
        "data = bytearray(open(name, 'rb').read()); data[len(data) // 2] ^= 1; open(name, 'wb').write(data)"
    )
    mounts = [{"name": "repository", "mountPath": "/repository"}]
    spec = pod_spec(
        container("vandal", context.images.toolbox, ["python3", "-c", flip], volumeMounts=mounts),
        restartPolicy="Never",
        volumes=[{"name": "repository", "persistentVolumeClaim": {"claimName": "backups"}}],
    )
    await context.client.apply(pod("vandal", spec))
    await context.client.until_one(
        POD, "vandal", lambda one: one["status"].get("phase") == "Succeeded", what="a damaged part", timeout_s=DONE_S
    )
    await context.client.patch(SCHEDULE, "damaged", {"spec": {"drill": "* * * * *"}})
    found = await context.client.until_one(
        SCHEDULE,
        "damaged",
        lambda one: condition(one, "Verified") == "False",
        what="the drill's failure",
        timeout_s=240,
    )
    context.say(condition_text(found, "Verified"))
    assert "Corrupt" in condition_text(found, "Verified")
    assert not found["status"]["lastVerified"], found["status"]
    await context.client.delete(SCHEDULE, "damaged")


@scenario(timeout_s=600, needs_machines=True, exclusive=False)
async def an_operator_killed_during_a_backup_makes_exactly_one(context: Context) -> None:
    """Killed when the Job exists, and again while it runs: one Job, one backup in the store, one end in the status."""
    async with operator(context) as product, object_store(context) as store:
        await _cluster(context)
        async with clients(context):
            await context.client.apply(backup("one", store.repository("store")))
            jobs = await context.client.until(JOB, lambda found: bool(found), what="a Job", timeout_s=DONE_S)
            await product.kill()
            (uid,) = [one["metadata"]["uid"] for one in jobs.values()]
            await product.until_ready()
            await product.kill()
            found = await ended(context, "one")
            assert succeeded(found), found["status"]
            after = await context.client.list_all(JOB)
            assert [one["metadata"]["uid"] for one in after] == [uid], "another Job was made"
            keys = await store.keys("demo")
            manifests = [key for key in keys if key.endswith("manifest.json")]
            assert len(manifests) == 1, f"{len(manifests)} backups were stored in {BUCKET}"
            assert found["status"]["backupID"] in manifests[0]
            # The answer of the Job is lost: it is asked again, and answers with what it has made.
            await context.client.delete(JOB, after[0]["metadata"]["name"])
            await context.client.patch(
                BACKUP, "one", {"status": {"conditions": [], "backupID": ""}}, subresource="status"
            )
            await context.kubectl("annotate", "csb", "one", "touched=yes")
            again = await ended(context, "one")
            assert succeeded(again), again["status"]
            assert again["status"]["backupID"] == found["status"]["backupID"]
            assert await store.keys("demo") == keys, "the second run stored something"


async def _cluster(context: Context) -> None:
    store = Store(context)
    await store.apply()
    await store.until_settled(3, timeout_s=READY_S)


async def _small_volume(context: Context, name: str, size: str) -> None:
    """Make a claim on a volume of so few bytes, on one node: a file system in memory."""
    node = context.own_machines.names[0]
    path = f"/var/lib/{context.namespace}-{name}"
    await context.own_machines.run(node, "mkdir", "-p", path)
    await context.own_machines.run(node, "mount", "-t", "tmpfs", "-o", f"size={size},mode=0777", "tmpfs", path)

    async def unmount() -> None:
        await context.own_machines.run(node, "umount", "--lazy", path)
        await context.client.delete(VOLUME, f"{context.namespace}-{name}")

    context.later.push_async_callback(unmount)
    term = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}
    volume = {
        "apiVersion": "v1",
        "kind": VOLUME.name,
        "metadata": {"name": f"{context.namespace}-{name}"},
        "spec": {
            "capacity": {"storage": "16Mi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "by-hand",
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [term]}]}},
        },
    }
    await context.client.apply(volume)
    made = claim(name)
    made["spec"] |= {"storageClassName": "by-hand", "volumeName": f"{context.namespace}-{name}"}
    await context.client.apply(made)
    await context.client.until_one(
        CLAIM, name, lambda one: one["status"].get("phase") == "Bound", what="Bound", timeout_s=60
    )
