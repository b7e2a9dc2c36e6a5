"""A manifest becomes the applied resource; changes are listed field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from collectionstore_local.state import applied_resource
from collectionstore_local.state.applied_resource import ChangeRefused, ResourceChange
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory, read_json
from collectionstore_local.state.manifest import load
from collectionstore_operator.resource import labels


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    return StateDirectory.at(tmp_path / "state").create_cluster("demo")


def apply(directory: ClusterDirectory, *, annotations: dict[str, str] | None = None, **spec: object) -> ResourceChange:
    file = directory.path / "manifest.yaml"
    resource = {
        "apiVersion": labels.API_VERSION,
        "kind": labels.KIND,
        "metadata": {"name": "demo", "annotations": annotations},
        "spec": {"tls": {"client": "Disabled"}, **spec},
    }
    file.write_text(yaml.safe_dump(resource))
    change = applied_resource.prepare_apply(directory, load(file))
    applied_resource.write(directory, change)
    return change


def test_first_application_creates_generation_1(directory: ClusterDirectory) -> None:
    """The resource gets a uid of its own."""
    change = apply(directory)
    assert change.outcome == "created"
    assert change.desired.generation == 1
    assert change.desired.uid
    assert applied_resource.read_desired(directory) == change.desired


def test_same_manifest_is_unchanged(directory: ClusterDirectory) -> None:
    """Nothing is written, the generation stays."""
    apply(directory)
    before = directory.resource.stat().st_mtime_ns
    assert apply(directory).outcome == "unchanged"
    assert directory.resource.stat().st_mtime_ns == before


def test_changed_spec_counts_as_a_generation_and_is_told(directory: ClusterDirectory) -> None:
    """Also a default that is set explicitly, since the spec differs."""
    uid = apply(directory).desired.uid
    change = apply(directory, replicas=5, raft={"heartbeatMilliseconds": 100})
    assert change.outcome == "configured"
    assert sorted(str(one) for one in change.changes) == [
        "spec.raft.heartbeatMilliseconds: (default) → 100",
        "spec.replicas: (default) → 5",
    ]
    assert (change.desired.generation, change.desired.uid) == (2, uid)


def test_annotation_is_no_generation(directory: ClusterDirectory) -> None:
    """As on Kubernetes, metadata does not count."""
    apply(directory)
    change = apply(directory, annotations={"note": "mine"})
    assert change.outcome == "configured"
    assert change.desired.generation == 1
    assert change.desired.annotations == {"note": "mine"}


def test_scaling_keeps_the_rest_of_the_spec(directory: ClusterDirectory) -> None:
    """Only replicas and the given unsafe flags change."""
    apply(directory, replicas=3, snapshot={"commands": 1000})
    change = applied_resource.prepare_scale(directory, 1, unsafe={"allowSingleReplica": True})
    assert [str(one) for one in change.changes] == [
        "spec.replicas: 3 → 1",
        "spec.unsafe.allowSingleReplica: (default) → True",
    ]
    assert change.desired.spec.snapshot.commands == 1000


def test_starting_again_keeps_what_was_scaled(directory: ClusterDirectory) -> None:
    """The same manifest is not applied twice; one that was edited is."""
    apply(directory, replicas=3)
    applied_resource.write(directory, applied_resource.prepare_scale(directory, 5))
    file = directory.path / "manifest.yaml"
    change = applied_resource.prepare_start(directory, load(file))
    assert change.outcome == "unchanged"
    assert change.desired.spec.replicas == 5
    assert [str(one) for one in change.differs] == ["spec.replicas: 5 → 3"]
    file.write_text(file.read_text().replace("replicas: 3", "replicas: 7"))
    assert applied_resource.prepare_start(directory, load(file)).desired.spec.replicas == 7


def test_scaling_to_what_is_not_allowed_is_refused(directory: ClusterDirectory) -> None:
    """The rules of a manifest hold for a scaled one too."""
    apply(directory)
    with pytest.raises(ChangeRefused, match=r"spec\.replicas.*\n.*allowEvenReplicas"):
        applied_resource.prepare_scale(directory, 4)


def test_restart_outlives_the_next_application(directory: ClusterDirectory) -> None:
    """Applying the same file again must not remove the annotation: that would be another restart."""
    apply(directory)
    change = applied_resource.prepare_restart(directory)
    applied_resource.write(directory, change)
    assert labels.RESTART in change.desired.annotations
    assert apply(directory).outcome == "unchanged"


def test_fence_outlives_the_next_application_unless_it_was_in_the_manifest(directory: ClusterDirectory) -> None:
    """As `kubectl apply` does: what the manifest had and has no more goes, what another command added stays."""
    apply(directory)
    fenced = {**(read_json(directory.resource) or {})}
    fenced["metadata"] = {**fenced["metadata"], "annotations": {labels.FENCE: "demo-1"}}
    applied_resource.write(directory, applied_resource.prepare_edit(directory, fenced))
    assert apply(directory, replicas=5).desired.annotations == {labels.FENCE: "demo-1"}
    assert apply(directory, annotations={labels.FENCE: "demo-2"}).desired.annotations == {labels.FENCE: "demo-2"}
    assert apply(directory).desired.annotations == {}


@pytest.mark.parametrize("spec", [{"local": {"basePort": 8000}}, {"tls": {"client": "Required"}}])
def test_fields_in_recorded_addresses_are_immutable(directory: ClusterDirectory, spec: dict[str, Any]) -> None:
    """The message says how to start over."""
    apply(directory)
    with pytest.raises(ChangeRefused, match="the field is immutable"):
        apply(directory, **spec)
