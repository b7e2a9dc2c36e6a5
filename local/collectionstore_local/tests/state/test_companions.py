"""Backups, schedules and Secrets beside the cluster of a manifest: refused where they are wrong, with the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_local.state import companions, manifest, secret_files
from collectionstore_local.state.backup_objects import BackupObjects
from collectionstore_local.state.companions import ImmutableChanged
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.manifest import ManifestInvalid
from collectionstore_operator.resource.backups.names import BACKUP_KIND

CLUSTER = """\
apiVersion: collectionstore.io/v1alpha1
kind: CollectionStoreCluster
metadata: {name: demo}
spec: {replicas: 3}
"""
SECRET = """\
apiVersion: v1
kind: Secret
metadata: {name: store}
stringData: {AWS_SECRET_ACCESS_KEY: hunter2}
"""
BACKUP = """\
apiVersion: collectionstore.io/v1alpha1
kind: CollectionStoreBackup
metadata: {name: one}
spec:
  clusterName: demo
  repository: {url: "file:///srv/backups"}
"""


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    return StateDirectory.at(tmp_path / "state").create_cluster("demo")


def load(tmp_path: Path, *documents: str) -> manifest.Manifest:
    file = tmp_path / "demo.yaml"
    file.write_text("---\n".join(documents))
    return manifest.load(file)


def test_documents_are_read_beside_the_cluster_and_written_once(tmp_path: Path, directory: ClusterDirectory) -> None:
    loaded = load(tmp_path, SECRET, CLUSTER, BACKUP)
    assert loaded.desired.name == "demo"
    applied = companions.write(directory, loaded.companions)
    assert applied == [("secret/store", "created"), ("collectionstorebackup/one", "created")]
    assert {one.outcome for one in companions.write(directory, loaded.companions)} == {"unchanged"}
    assert secret_files.read(directory, "store") == {"AWS_SECRET_ACCESS_KEY": b"hunter2"}
    (file,) = (directory.secrets / "store").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    (body,) = BackupObjects(directory).all(BACKUP_KIND)
    assert body["metadata"]["uid"]


def test_applying_again_keeps_the_uid_and_a_change_of_the_policy_is_allowed(
    tmp_path: Path, directory: ClusterDirectory
) -> None:
    companions.write(directory, load(tmp_path, CLUSTER, BACKUP).companions)
    before = BackupObjects(directory).find(BACKUP_KIND, "one")
    changed = load(tmp_path, CLUSTER, f"{BACKUP}  deletionPolicy: Delete\n").companions
    companions.check(directory, changed)
    assert companions.write(directory, changed)[0].outcome == "configured"
    after = BackupObjects(directory).find(BACKUP_KIND, "one")
    assert before is not None
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["metadata"]["generation"] == 2
    with pytest.raises(ImmutableChanged, match="exists with another spec"):
        companions.check(directory, load(tmp_path, CLUSTER, BACKUP.replace("srv", "mnt")).companions)


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ((CLUSTER, BACKUP.replace("demo", "other")), "spec.clusterName of the CollectionStoreBackup one is other"),
        ((CLUSTER, BACKUP, BACKUP), "two documents are the CollectionStoreBackup one"),
        ((CLUSTER, CLUSTER), "2 CollectionStoreClusters"),
        ((BACKUP,), "there is no CollectionStoreCluster in it"),
        ((CLUSTER, BACKUP.replace("name: one", "name: ../one")), "demo.yaml:8: metadata.name: '../one' is not a valid"),
        ((CLUSTER, BACKUP.replace("name: one", f"name: {'x' * 47}")), "1 to 46 of the characters"),
        ((CLUSTER, BACKUP.replace("}\n", ", claimName: vol}\n", 2)), "claimName"),
        ((CLUSTER, BACKUP.replace("metadata: {name: one}", "metadata: [one]")), "an object with the field name"),
        ((CLUSTER, BACKUP.replace("v1alpha1", "v1")), "'collectionstore.io/v1' is not allowed"),
        ((CLUSTER, f"{BACKUP}data: 1\n"), "data: unknown field"),
        ((CLUSTER, SECRET.replace("stringData", "data").replace("hunter2", "hunter$2")), "is not base64"),
        ((CLUSTER, SECRET.replace("AWS_SECRET_ACCESS_KEY", "'../../key'")), "is not a valid key"),
        ((CLUSTER, SECRET.replace("hunter2", "[1]")), "is not a string"),
        ((CLUSTER, BACKUP.replace('"file:///srv/backups"', '"ftp://x"')), "url"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(tmp_path: Path, documents: tuple[str, ...], message: str) -> None:
    with pytest.raises(ManifestInvalid) as caught:
        load(tmp_path, *documents)
    assert message in str(caught.value)
    assert "hunter" not in str(caught.value)
    assert "allowed" in str(caught.value) or "no CollectionStoreCluster" in str(caught.value)
