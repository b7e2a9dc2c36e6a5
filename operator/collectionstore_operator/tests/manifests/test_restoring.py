"""The init container of a cluster that begins with a backup, and what its absence leaves unchanged."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.manifests import networkpolicy, restoring, statefulset
from collectionstore_operator.manifests.store_ports import store_ports
from collectionstore_operator.resource.bootstrap import Beginning, Restore
from collectionstore_operator.resource.desired import Desired, Runtime, Spec, parse
from collectionstore_operator.resource.repository import EncryptionKey, Repository

FULL = Restore(
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


def pod_of(restore: Restore | None, desired: Desired | None = None) -> dict[str, Any]:
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


def test_a_claim_is_mounted_read_only() -> None:
    pod = pod_of(Restore(repository=Repository(url="file:///repository/shop", claim_name="backups")))
    (mount,) = (one for one in pod["initContainers"][0]["volumeMounts"] if one["name"] == restoring.REPOSITORY_VOLUME)
    assert mount == {"name": "repository", "mountPath": "/repository", "readOnly": True}
    assert "envFrom" not in pod["initContainers"][0]


def test_a_cluster_without_a_restore_under_way_has_the_template_that_it_had() -> None:
    wanted = Desired(name="demo", namespace="shop", spec=Spec(bootstrap=Beginning(restore=FULL)))
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
    spec = Spec(bootstrap=Beginning(restore=Restore(repository=repository)))
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
