"""The init container of a cluster that begins with a backup, and what its absence leaves unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.errors import InvalidResource, InvariantViolated
from collectionstore_operator.manifests import networkpolicy, restoring, statefulset
from collectionstore_operator.manifests.store_ports import store_ports
from collectionstore_operator.model.restore import read, written
from collectionstore_operator.resource.bootstrap import Beginning, Origin, Restore, Source, VolumeSnapshot
from collectionstore_operator.resource.desired import Desired, Runtime, Spec, parse
from collectionstore_operator.resource.repository import EncryptionKey, Repository

ORIGIN = Origin(
    repository=Repository(
        url="s3://backups/shop",
        options={"region": "eu", "endpoint": "http://store:9000/$(HOME)"},
        credentials_secret_name="store",
        encryption_key=EncryptionKey(secret_name="keys"),
    ),
    source_cluster="0123456789abcdef",
    backup="b1",
    to="revision:7",
    bump_revision=5,
)
FULL = ORIGIN.source
assert isinstance(FULL, Restore)
SNAPSHOT = Origin(volume_snapshot=VolumeSnapshot(name="before"), bump_revision=7)


def pod_of(restore: Source | None, desired: Desired | None = None) -> dict[str, Any]:
    desired = desired or Desired(name="demo", namespace="shop")
    built = statefulset.build(desired, cluster_id="c1", replicas=1, restore=restore)
    found: dict[str, Any] = built.body["spec"]["template"]["spec"]
    return found


def test_the_program_gets_all_that_is_asked_for() -> None:
    pod = pod_of(FULL)
    (container,) = pod["initContainers"]
    assert container["command"] == ["collectionstore-backup"]
    host = "$(COLLECTIONSTORE_NAME).demo-peers.shop.svc"
    written = " ".join(container["args"]).replace(restoring.request(FULL), "REQUEST")
    assert written == (
        "restore b1 --repository s3://backups/shop --option endpoint=http://store:9000/$$(HOME) --option region=eu "
        "--bump-revision 5 --request REQUEST --quiet --source-cluster 0123456789abcdef --to revision:7 "
        "--key-file /etc/collectionstore/backup-key/key --data-dir /var/lib/collectionstore/data --cluster-id c1 "
        f"--name $(COLLECTIONSTORE_NAME) --peer-address {host}:7401 --client-address https://{host}:7400"
    )
    assert container["envFrom"] == [{"secretRef": {"name": "store"}}]
    assert container["image"] == pod["containers"][0]["image"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert [one["name"] for one in container["env"]] == ["COLLECTIONSTORE_NAME"]
    assert {one["name"] for one in container["volumeMounts"]} <= {one["name"] for one in pod["volumes"]} | {"data"}
    (key,) = (one for one in pod["volumes"] if one["name"] == restoring.KEY_VOLUME)
    assert key["secret"]["secretName"] == "keys"


def test_on_a_volume_of_a_snapshot_the_directory_is_adopted() -> None:
    pod = pod_of(SNAPSHOT.source)
    (container,) = pod["initContainers"]
    assert container["command"] == ["collectionstore-node"]
    host = "$(COLLECTIONSTORE_NAME).demo-peers.shop.svc"
    written = " ".join(container["args"]).replace(restoring.request(SNAPSHOT.source), "REQUEST")
    assert written == (
        "adopt --bump-revision 7 --request REQUEST --data-dir /var/lib/collectionstore/data --cluster-id c1 "
        f"--name $(COLLECTIONSTORE_NAME) --peer-address {host}:7401 --client-address https://{host}:7400"
    )
    assert "envFrom" not in container
    assert [one["mountPath"] for one in container["volumeMounts"]] == ["/var/lib/collectionstore"]
    assert pod["schedulingGates"] == [{"name": "collectionstore.io/restoring"}]
    assert pod["volumes"] == pod_of(None)["volumes"]


def test_only_the_claim_of_the_first_member_is_made_of_the_snapshot() -> None:
    desired = Desired(name="demo", namespace="shop", spec=Spec(bootstrap=Beginning(restore=SNAPSHOT)))
    built = statefulset.build(desired, cluster_id="c1", replicas=1, restore=SNAPSHOT.source)
    (template,) = built.body["spec"]["volumeClaimTemplates"]
    assert "dataSource" not in template["spec"]
    claim = statefulset.first_claim(desired, "c1", "before")
    assert claim["metadata"]["name"] == "data-demo-0"
    assert claim["metadata"]["namespace"] == "shop"
    assert claim["metadata"]["labels"] == template["metadata"]["labels"]
    assert claim["metadata"]["annotations"] == template["metadata"]["annotations"]
    source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "before"}
    assert claim["spec"] == {**template["spec"], "dataSource": source}


def test_what_is_recorded_and_acknowledged_of_a_backup_is_as_before_there_were_snapshots() -> None:
    """Digests of it are in annotations, in nonces and in data directories, of restores that are under way."""
    assert written(FULL) == (
        '{"repository":{"url":"s3://backups/shop","options":{"endpoint":"http://store:9000/$(HOME)","region":"eu"},'
        '"credentialsSecretName":"store","encryptionKey":{"secretName":"keys","key":"key"},"claimName":null},'
        '"sourceCluster":"0123456789abcdef","backup":"b1","to":"revision:7","bumpRevision":5}'
    )
    for origin in (ORIGIN, SNAPSHOT):
        assert read(written(origin.source)) == origin


@pytest.mark.parametrize("text", ["{}", '{"bumpRevision":1}', '{"volumeSnapshot":{}}', "[]", '{"other":1}'])
def test_a_record_without_a_source_is_reported_and_not_taken_for_none(text: str) -> None:
    with pytest.raises(InvariantViolated, match="cannot be read"):
        read(text)


def test_a_claim_is_mounted_read_only() -> None:
    pod = pod_of(Restore(repository=Repository(url="file:///repository/shop", claim_name="backups")))
    (mount,) = (one for one in pod["initContainers"][0]["volumeMounts"] if one["name"] == restoring.REPOSITORY_VOLUME)
    assert mount == {"name": "repository", "mountPath": "/repository", "readOnly": True}
    assert "envFrom" not in pod["initContainers"][0]


def test_a_cluster_without_a_restore_under_way_has_the_template_that_it_had() -> None:
    wanted = Desired(name="demo", namespace="shop", spec=Spec(bootstrap=Beginning(restore=ORIGIN)))
    assert pod_of(None, wanted) == pod_of(None)
    assert "initContainers" not in pod_of(None)


def test_each_request_has_a_mark_of_its_own() -> None:
    other = Restore(repository=Repository(url="s3://backups/other"))
    assert restoring.request(FULL) == restoring.request(FULL) != restoring.request(other)


@pytest.mark.parametrize(
    ("repository", "ports"),
    [
        (Repository(url="file:///repository", claim_name="x"), set()),
        (Repository(url="s3://b/p"), {80, 443, 988}),
        (Repository(url="s3://b/p", credentials_secret_name="x", options={"proxy_url": "http://p:3128"}), {443, 3128}),
        (Repository(url="s3://b/p", credentials_secret_name="x"), {443}),
        (Repository(url="s3://b/p", credentials_secret_name="x", options={"endpoint": "http://s:9000"}), {443, 9000}),
        (Repository(url="s3://b/p", credentials_secret_name="x", options={"endpoint": "http://s"}), {443, 80}),
        (Repository(url="s3://b/p", credentials_secret_name="x", options={"endpoint": "http://s:x"}), {443}),
    ],
)
def test_members_may_reach_the_store_while_the_spec_names_it(repository: Repository, ports: set[int]) -> None:
    assert set(store_ports(repository)) == ports
    spec = Spec(bootstrap=Beginning(restore=Origin(repository=repository)))
    allowed = networkpolicy.build(Desired(name="demo", spec=spec)).body["spec"]["egress"][-1]["ports"]
    assert ports <= {one["port"] for one in allowed}


def resource(**repository: Any) -> dict[str, Any]:
    return {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "demo"},
        "spec": {"bootstrap": {"restore": {"repository": repository}}},
    }


@pytest.mark.parametrize(
    ("repository", "field"),
    [
        ({"url": "file:///repository/x"}, "claimName"),
        ({"url": "s3://b/x", "claimName": "c"}, "claimName"),
        ({"url": "file:///etc", "claimName": "c"}, "url"),
        ({"url": "file:///repository/../etc", "claimName": "c"}, "url"),
        ({"url": "s3://b/x", "options": {"azure_storage_sas_token": "hush"}}, "options"),
        ({"url": "s3://b/x", "options": {"endpoint": "https://user:hush@minio"}}, "options"),
    ],
)
def test_repository_of_a_restore_has_the_rules_of_backups(repository: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidResource) as raised:
        parse(resource(**repository))
    assert [one.path for one in raised.value.errors] == [f"spec.bootstrap.restore.repository.{field}"]


def test_a_local_cluster_has_a_directory_in_place_of_a_claim() -> None:
    desired = parse(resource(url="file:///tmp/backups"), runtime=Runtime.LOCAL)
    assert desired.spec.beginning is not None
    with pytest.raises(InvalidResource) as raised:
        parse(resource(url="file:///repository", claimName="c"), runtime=Runtime.LOCAL)
    assert [one.path for one in raised.value.errors] == ["spec.bootstrap.restore.repository.claimName"]


@pytest.mark.parametrize(
    ("restore", "field"),
    [
        ({}, "repository"),
        ({"volumeSnapshot": {"name": "a"}, "repository": {"url": "s3://b/x"}}, "repository"),
        ({"volumeSnapshot": {"name": "a"}, "to": "end"}, "volumeSnapshot"),
        ({"volumeSnapshot": {"name": "a"}, "backup": "b1"}, "volumeSnapshot"),
        ({"volumeSnapshot": {"name": "a"}, "sourceCluster": "0123456789abcdef"}, "volumeSnapshot"),
        ({"volumeSnapshot": {"name": "A b"}}, "volumeSnapshot.name"),
        ({"volumeSnapshot": {}}, "volumeSnapshot.name"),
    ],
)
def test_a_new_cluster_has_one_source(restore: dict[str, Any], field: str) -> None:
    body = {**resource(), "spec": {"bootstrap": {"restore": restore}}}
    with pytest.raises(InvalidResource) as raised:
        parse(body)
    assert [one.path for one in raised.value.errors] == [f"spec.bootstrap.restore.{field}"]


def test_a_snapshot_is_refused_on_one_machine() -> None:
    # With the default that the API server fills in.
    restore = {"volumeSnapshot": {"name": "a"}, "backup": "latest", "bumpRevision": 1_000_000}
    body = {**resource(), "spec": {"bootstrap": {"restore": restore}}}
    assert parse(body).spec.beginning == Origin(volume_snapshot=VolumeSnapshot(name="a")).source
    with pytest.raises(InvalidResource, match="there are no VolumeSnapshots on this machine") as raised:
        parse(body, runtime=Runtime.LOCAL)
    assert [one.path for one in raised.value.errors] == ["spec.bootstrap.restore.volumeSnapshot"]
