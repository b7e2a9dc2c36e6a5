"""Data directories are volumes: read, marked and retired without losing what is to be kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collectionstore_local.state import volumes
from collectionstore_local.state.directory import NodeDirectory
from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.observed import ABSENT, Unknown, Volume

NODE_ID = "33606f205f377b52"


@pytest.fixture
def directory(tmp_path: Path) -> NodeDirectory:
    return NodeDirectory(tmp_path / "demo-1")


def fill(directory: NodeDirectory, node_id: str | int = NODE_ID) -> None:
    volumes.create(directory)
    identity = {"cluster_id": "c", "name": "demo-1", "node_id": node_id}
    (directory.data / volumes.IDENTITY).write_text(json.dumps(identity))


def test_missing_folder_is_absent_and_a_new_one_is_empty(directory: NodeDirectory) -> None:
    """The planner distinguishes an absent volume from an empty one."""
    assert volumes.look(directory) is ABSENT
    volumes.create(directory)
    assert volumes.look(directory) == Volume(name="demo-1", node_id=ABSENT)
    assert directory.data.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("written", [NODE_ID, int(NODE_ID, 16)])
def test_incarnation_is_read_from_the_disk(directory: NodeDirectory, written: str | int) -> None:
    """As on the wire: 16 hexadecimal digits, however the node writes it."""
    fill(directory, written)
    assert volumes.look(directory) == Volume(name="demo-1", node_id=NODE_ID)


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_unreadable_identity_is_unknown(directory: NodeDirectory, content: str) -> None:
    """A corrupt disk is not an empty one."""
    fill(directory)
    (directory.data / volumes.IDENTITY).write_text(content)
    found = volumes.look(directory)
    assert isinstance(found, Volume)
    assert isinstance(found.node_id, Unknown)


def test_content_without_identity_is_unknown(directory: NodeDirectory) -> None:
    """It may hold data."""
    volumes.create(directory)
    (directory.data / "000012.sst").touch()
    found = volumes.look(directory)
    assert isinstance(found, Volume)
    assert isinstance(found.node_id, Unknown)


def test_mark_is_kept_on_the_volume(directory: NodeDirectory) -> None:
    """Nothing may start on it again."""
    fill(directory)
    volumes.mark_removed(directory, NODE_ID)
    assert volumes.look(directory) == Volume(name="demo-1", node_id=NODE_ID, removed=True)


def test_volume_of_another_incarnation_is_left_alone(directory: NodeDirectory) -> None:
    """The state changed since the decision."""
    fill(directory)
    for act in (volumes.mark_removed, volumes.retire_and_keep, volumes.retire_and_delete):
        with pytest.raises(ActionRefused, match="not ffff"):
            act(directory, "ffff")
    assert volumes.look(directory) == Volume(name="demo-1", node_id=NODE_ID)


def test_retired_volume_is_kept_aside_with_its_mark(directory: NodeDirectory) -> None:
    """No volume overwrites an earlier one; the next start is on an empty one."""
    for number in ("1", "2"):
        fill(directory)
        volumes.mark_removed(directory, NODE_ID)
        volumes.retire_and_keep(directory, NODE_ID)
        assert volumes.look(directory) is ABSENT
        assert not directory.volume_mark.exists()
        kept = directory.path / "retired" / number
        assert (kept / "data" / volumes.IDENTITY).exists()
        assert json.loads((kept / "volume.json").read_text())["removed"]


def test_retired_volume_is_deleted_when_nobody_wants_it(directory: NodeDirectory) -> None:
    """For the reclaim policy Delete."""
    fill(directory)
    volumes.retire_and_delete(directory, NODE_ID)
    assert volumes.look(directory) is ABSENT
    assert not (directory.path / "retired").exists()


def test_retiring_twice_is_harmless(directory: NodeDirectory) -> None:
    """After a crash the step is repeated; a mark left behind is deleted too."""
    fill(directory)
    volumes.retire_and_keep(directory, NODE_ID)
    volumes.mark_removed(directory, NODE_ID)
    volumes.retire_and_keep(directory, NODE_ID)
    assert not directory.volume_mark.exists()
    assert [entry.name for entry in (directory.path / "retired").iterdir()] == ["1"]
