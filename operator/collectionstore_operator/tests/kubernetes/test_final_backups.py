"""The final backup on an API server: created once, recognized, and waited for by the deletion of its cluster."""

from __future__ import annotations

import time
from typing import Any

import pytest
from aiohttp import web

from collectionstore_operator.errors import ActionRefused, InvalidResource
from collectionstore_operator.kubernetes.final_backups import FinalBackups, build
from collectionstore_operator.model.actions import CreateFinalBackup
from collectionstore_operator.model.final_backup import FinalBackupSeen
from collectionstore_operator.model.observed import ABSENT, Unknown
from collectionstore_operator.model.timestamps import rfc3339
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups.desired import parse_backup
from collectionstore_operator.resource.desired import Desired, parse
from collectionstore_operator.tests.kubernetes.fake_api_server import status
from collectionstore_operator.tests.kubernetes.test_runtime import CLUSTER, RECORD, WORKLOAD, World
from collectionstore_operator.tests.kubernetes.test_runtime import world as world

BACKUP = "/apis/collectionstore.io/v1alpha1/namespaces/shop/collectionstorebackups/demo-final-u1"
SPEC: dict[str, Any] = {
    "deletion": {
        "finalBackup": {
            "repository": {
                "url": "s3://backups/demo",
                "options": {"region": "eu"},
                "credentialsSecretName": "s3",
                "encryptionKey": {"secretName": "key"},
            },
            "serviceAccountName": "backups",
        }
    }
}
CREATE = CreateFinalBackup(name="demo-final-u1", reason="x")


def deleted() -> Desired:
    return parse(
        {
            "apiVersion": labels.API_VERSION,
            "kind": labels.KIND,
            "metadata": {"name": "demo", "namespace": "shop", "uid": "u1", "deletionTimestamp": "x"},
            "spec": SPEC,
        }
    )


def ended(kind: str, cluster_id: str = "", completed: float | None = None, **metadata: Any) -> dict[str, Any]:
    """Return the resource of a backup that has ended, now unless `completed` says when."""
    body = build(deleted())
    condition = {
        "type": kind,
        "status": "True",
        "reason": "Why",
        "message": "so",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    at = rfc3339(time.time() if completed is None else completed)
    told = {"conditions": [condition], "clusterID": cluster_id, "completedAt": at}
    return {**body, "metadata": {**body["metadata"], "uid": "b1", **metadata}, "status": told}


def test_backup_is_valid_and_outlives_the_cluster() -> None:
    body = build(deleted())
    assert "ownerReferences" not in body["metadata"]
    spec = parse_backup(body).spec
    wanted = deleted().spec.deletion
    assert wanted is not None
    assert wanted.final_backup is not None
    assert spec.repository == wanted.final_backup.repository
    assert (spec.cluster_name, spec.service_account_name, spec.deadline_seconds) == ("demo", "backups", 21_600)
    assert spec.deletion_policy == "Retain"


async def test_backup_is_created_once_and_found(world: World) -> None:
    """Also when the answer to the first attempt was lost."""
    backups = FinalBackups(world.kube)
    assert await backups.read(deleted()) == ABSENT
    await backups.create(CREATE, deleted())
    await backups.create(CREATE, deleted())
    assert await backups.read(deleted()) == FinalBackupSeen(name="demo-final-u1", state="Active")
    world.server.put(BACKUP, ended("Complete", "c1", completed=1_700_000_000.0))
    assert await backups.read(deleted()) == FinalBackupSeen(
        name="demo-final-u1", state="Complete", cluster_id="c1", completed_at=1_700_000_000.0, message="Why: so"
    )


async def test_backup_of_another_origin_is_neither_taken_nor_overwritten(world: World) -> None:
    backups = FinalBackups(world.kube)
    world.server.put(BACKUP, ended("Complete", "c1", annotations={}))
    found = await backups.read(deleted())
    assert isinstance(found, Unknown)
    with pytest.raises(ActionRefused, match="delete it"):
        await backups.create(CREATE, deleted())


async def test_error_is_unknown_and_one_that_is_being_deleted_too(world: World) -> None:
    backups = FinalBackups(world.kube)
    world.server.put(BACKUP, ended("Complete", "c1", deletionTimestamp="x"))
    assert await backups.read(deleted()) == Unknown("it is being deleted")

    async def behave(_: web.Request) -> web.Response:
        return status(403, "Forbidden")

    world.server.behave = behave
    assert isinstance(await backups.read(deleted()), Unknown)


async def test_deletion_waits_for_the_backup_and_no_longer(world: World) -> None:
    """From the deletion to the end: nothing is stopped before, and the backup stays."""
    await _running(world)
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    await world.rounds(2)
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 3
    cluster_id = world.server.objects[RECORD]["data"]["cluster-id"]
    world.server.put(BACKUP, ended("Complete", cluster_id))
    await world.rounds(1)
    assert "demo-final-u1" in world.server.objects[RECORD]["data"]["planned-work"]
    # A user who deletes it now does not start the cluster again.
    del world.server.objects[BACKUP]
    await world.rounds(1)
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 0
    del world.server.objects["/api/v1/namespaces/shop/pods/demo-0"]
    assert (await world.rounds(2))[-1] == "Gone"


async def test_rollback_while_a_deletion_waits_keeps_the_volumes(world: World) -> None:
    """The operator of before knows no final backup, and the record of a protected deletion."""
    await _running(world, {**SPEC, "storage": {"retention": "Delete"}})
    world.server.objects[CLUSTER]["metadata"]["deletionTimestamp"] = "x"
    await world.rounds(2)
    data = world.server.objects[RECORD]["data"]
    assert (data["protected-deletion"], data["deletion-held"]) == ("u1", "u1")
    _, observed = await world.look()
    assert (observed.deletion_was_protected, observed.deletion_held) == (False, True)
    # What is left when it is back: the other one has written the record without what it does not know.
    del data["deletion-held"]
    _, observed = await world.look()
    assert (observed.deletion_was_protected, observed.deletion_held) == (True, False)
    data["deletion-held"] = "u1"
    world.server.put(BACKUP, ended("Complete", data["cluster-id"]))
    await world.rounds(2)
    del world.server.objects["/api/v1/namespaces/shop/pods/demo-0"]
    assert (await world.rounds(4))[-1] == "Gone"
    assert "/api/v1/namespaces/shop/persistentvolumeclaims/data-demo-0" not in world.server.objects


async def test_invalid_resource_is_not_torn_down_before_its_backup(world: World) -> None:
    """What is invalid may be the repository: only the user can say that the data may go without."""
    await _running(world)
    stored = world.server.objects[CLUSTER]
    stored["metadata"]["deletionTimestamp"] = "x"
    stored["spec"] = {"deletion": {"finalBackup": {"repository": {"url": "nowhere"}}}}
    with pytest.raises(InvalidResource, match="url"):
        await world.runtime.desired()
    stored["metadata"]["annotations"] = {labels.SKIP_FINAL_BACKUP: "true"}
    desired = await world.runtime.desired()
    assert desired is not None
    assert desired.deleting
    await world.rounds(1)
    assert world.server.objects[WORKLOAD]["spec"]["replicas"] == 0


async def _running(world: World, spec: dict[str, Any] = SPEC) -> None:
    """Have a cluster that has had data, and one pod of it."""
    world.create(spec)
    await world.rounds(2)
    world.pod(0)
    world.server.objects[RECORD]["data"]["initialized"] = "true"
