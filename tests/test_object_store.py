"""Backups of a local cluster in an S3 server, by the resources of its manifest, and a new cluster of one of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import aiohttp
import boto3  # type: ignore[import-untyped]
import pytest
import yaml
from moto.server import ThreadedMotoServer

from collectionstore_testkit.clusters.local import LocalCluster, local_cluster
from collectionstore_testkit.clusters.ports import free_base_port

pytestmark = pytest.mark.xdist_group("object_store")

Resource: TypeAlias = dict[str, Any]
API: Final = "collectionstore.io/v1alpha1"
BUCKET: Final = "backups"
LOOK_S: Final = 0.2
PATIENCE_S: Final = 120.0
PORTS: Final = range(23_000, 25_000)
SECRET: Final = "the-secret-of-this-test"


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def bucket(endpoint: str) -> Any:
    """Return a client of the server, which has the bucket."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key=SECRET
    )
    client.create_bucket(Bucket=BUCKET)
    return client


def repository(endpoint: str, path: str = BUCKET) -> Resource:
    options = {"endpoint": endpoint, "region": "us-east-1"}
    return {"url": f"s3://{path}/demo", "options": options, "credentialsSecretName": "store"}


def documents(*resources: Resource) -> list[Resource]:
    secret = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": SECRET}
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "store"}, "stringData": secret}, *resources]


async def apply(cluster: LocalCluster, *resources: Resource) -> None:
    file = cluster.folder / "backups.yaml"
    file.write_text(yaml.safe_dump_all(documents(*resources)))
    file.chmod(0o600)
    await cluster.csctl("apply", "-f", str(file), timeout_s=60)


async def found(cluster: LocalCluster, kind: str) -> list[Resource]:
    answer = json.loads(await cluster.csctl("get", kind, "-o", "json", timeout_s=30))
    return list(answer["items"])


def condition(resource: Resource, kind: str) -> Resource:
    conditions = (resource.get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), {"status": "", "reason": "", "message": ""})


async def until(cluster: LocalCluster, kind: str, holds: Callable[[Resource], bool]) -> Resource:
    """Return the resource of a kind, the only one, once something holds of it; other processes announce nothing."""
    async with asyncio.timeout(PATIENCE_S):
        while len(seen := await found(cluster, kind)) != 1 or not holds(seen[0]):  # noqa: ASYNC110 - see above
            await asyncio.sleep(LOOK_S)
    return seen[0]


async def test_a_schedule_stores_in_s3_and_a_new_cluster_begins_with_it(endpoint: str) -> None:
    """Init: a member, and an S3 server. Step: a schedule that is due at once; then a new cluster of what it stored.

    Check: the backup is verified and in the bucket, retention keeps it, the credentials are in no file that others may
    read or that a report has, and the new cluster has the document.
    """
    store = bucket(endpoint)
    spec = {"unsafe": {"allowSingleReplica": True}}
    async with (
        aiohttp.ClientSession() as session,
        local_cluster(replicas=1, base_port=free_base_port(10, within=PORTS), spec=spec) as cluster,
    ):
        url = f"{cluster.url(0)}/api/v1/collections/books"
        for path, body in (("", None), ("/documents/dune", {"title": "Dune"})):
            async with session.put(url + path, json=body) as response:
                assert response.status == 201
        schedule = {
            "apiVersion": API,
            "kind": "CollectionStoreBackupSchedule",
            "metadata": {"name": "nightly"},
            "spec": {
                "clusterName": cluster.name,
                "schedule": "0 3 1 1 *",
                "immediate": True,
                "repository": repository(endpoint),
                "retention": {"keepLast": 2},
            },
        }
        await apply(cluster, schedule)
        made = await until(cluster, "backups", lambda one: condition(one, "Complete")["status"] == "True")
        assert made["status"]["revision"] == 2
        keys = [one["Key"] for one in store.list_objects_v2(Bucket=BUCKET)["Contents"]]
        assert any(made["status"]["backupID"] in key for key in keys), keys
        scheduled = await until(cluster, "schedules", lambda one: condition(one, "BackupFresh")["status"] == "True")
        assert scheduled["status"]["lastSuccessBackup"] == made["status"]["backupID"]

        with_secret = [one for one in cluster.state.rglob("*") if one.is_file() and SECRET.encode() in one.read_bytes()]
        assert with_secret, "the Secret is kept"
        assert {one.stat().st_mode & 0o777 for one in with_secret} == {0o600}
        assert {one.parent.name for one in with_secret} == {"store"}, with_secret

        copy: dict[str, Any] = {
            "apiVersion": API,
            "kind": "CollectionStoreCluster",
            "metadata": {"name": "copy"},
            "spec": {
                "replicas": 1,
                "tls": {"client": "Disabled"},
                "local": {"basePort": free_base_port(10, within=PORTS)},
                "bootstrap": {"restore": {"repository": repository(endpoint)}},
                **spec,
            },
        }
        file = cluster.folder / "copy.yaml"
        file.write_text(yaml.safe_dump_all(documents(copy)))
        await cluster.csctl("up", "-f", str(file), "--timeout", "100", timeout_s=120)
        try:
            again = f"http://127.0.0.1:{copy['spec']['local']['basePort']}/api/v1/collections/books/documents/dune"
            async with session.get(again) as response:
                assert (response.status, await response.json()) == (200, {"title": "Dune"})
            async with session.put(again, json={"title": "Dune", "year": 1965}) as response:
                assert (await response.json())["revision"] == 1_000_003
        finally:
            await cluster.csctl("clean", "--yes", "--cluster", "copy", timeout_s=60)


async def test_a_bucket_that_does_not_exist_is_said(endpoint: str) -> None:
    bucket(endpoint)
    spec = {"unsafe": {"allowSingleReplica": True}}
    async with local_cluster(replicas=1, base_port=free_base_port(10, within=PORTS), spec=spec) as cluster:
        wanted = {"clusterName": cluster.name, "repository": repository(endpoint, "nowhere"), "deadlineSeconds": 100}
        await apply(
            cluster, {"apiVersion": API, "kind": "CollectionStoreBackup", "metadata": {"name": "one"}, "spec": wanted}
        )
        one = await until(cluster, "backups", lambda it: condition(it, "Failed")["status"] == "True")
        assert condition(one, "Failed")["reason"] == "Refused"
        assert "nowhere" in condition(one, "Failed")["message"]
        assert SECRET not in json.dumps(one)
