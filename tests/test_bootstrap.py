"""What the operator has the init container of a restored cluster run is what the program of the node's image takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from collectionstore_node.backup.commands.restoring import restore as command
from collectionstore_operator.kubernetes.pods import read_pod
from collectionstore_operator.manifests import restoring, statefulset
from collectionstore_operator.model.observed import Slot
from collectionstore_operator.model.restore import failure_of
from collectionstore_operator.resource.bootstrap import Restore
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.resource.repository import EncryptionKey, Repository


def container(restore: Restore) -> dict[str, Any]:
    built = statefulset.build(Desired(name="demo", namespace="shop"), cluster_id="c1", replicas=1, restore=restore)
    (found,) = built.body["spec"]["template"]["spec"]["initContainers"]
    return dict(found)


def test_every_argument_is_understood() -> None:
    restore = Restore(
        repository=Repository(
            url="s3://backups/shop", options={"region": "eu"}, encryption_key=EncryptionKey(secret_name="keys")
        ),
        source_cluster="0123456789abcdef",
        to="2026-01-02T03:04:05Z",
    )
    name, *arguments = container(restore)["args"]
    assert name == command.name
    given = command.make_context("restore", list(arguments)).params
    assert given["backup"] == "latest"
    assert given["goal"] == restore.to
    assert given["bump_revision"] == 1_000_000
    assert given["request"] == restoring.request(restore)
    assert given["source_cluster"] == restore.source_cluster
    assert given["options"] == ("region=eu",)
    assert given["cluster_id"] == "c1"
    assert given["data_dir"] == Path("/var/lib/collectionstore/data")


def test_a_missing_repository_ends_with_the_code_that_the_operator_names(tmp_path: Path) -> None:
    """Check: exit code 5, one line that says what is missing, and neither repository nor data directory is made."""
    restore = Restore(repository=Repository(url="file:///repository/shop", claim_name="backups"))
    arguments = [
        one.replace("/repository/shop", f"{tmp_path}/none").replace("/var/lib/collectionstore", str(tmp_path))
        for one in container(restore)["args"]
    ]
    ended = subprocess.run(
        [sys.executable, "-m", "collectionstore_node.backup", *arguments], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 5, ended
    status = {"initContainerStatuses": [{"state": {"terminated": {"exitCode": 5, "message": ended.stderr}}}]}
    body = {
        "metadata": {"name": "demo-0", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {},
        "status": status,
    }
    pod = read_pod(body, Desired(name="demo"), unready_s=0.0, lost_machines=frozenset())
    said = failure_of(Slot(ordinal=0, pod=pod))
    assert said.startswith("BackupNotFound: file:///"), said
    assert said.endswith("there is no such directory, so no backup"), said
    assert list(tmp_path.iterdir()) == []
