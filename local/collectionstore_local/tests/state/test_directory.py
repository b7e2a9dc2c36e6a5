"""The state directory is marked, private, and never anything else is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from collectionstore_local.errors import LocalError
from collectionstore_local.state.directory import (
    ClusterNotFound,
    StateDirectory,
    StateDirectoryRefused,
    read_json,
    write_json,
)


def test_new_state_directory_is_private_and_marked(tmp_path: Path) -> None:
    """It holds private keys: other users have no access."""
    state = StateDirectory.at(tmp_path / "state")
    directory = state.create_cluster("demo")
    assert [path.stat().st_mode & 0o777 for path in (state.path, directory.path, directory.nodes)] == [0o700] * 3
    assert StateDirectory.open(state.path) == state


def test_folder_with_other_content_is_refused(tmp_path: Path) -> None:
    """A typing error in --state-dir must not take over a directory with other content."""
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StateDirectoryRefused, match="not a state directory of csctl"):
        StateDirectory.at(tmp_path)
    with pytest.raises(StateDirectoryRefused, match="not a state directory of csctl"):
        StateDirectory.open(tmp_path)


def test_missing_state_directory_says_how_to_begin(tmp_path: Path) -> None:
    """The error has the command to start a cluster."""
    with pytest.raises(ClusterNotFound, match="csctl local up -f FILE"):
        StateDirectory.open(tmp_path / "none")


def test_only_cluster_needs_no_name_and_of_several_one_must_be_named(tmp_path: Path) -> None:
    """Without a name, only a single cluster is selected."""
    state = StateDirectory.at(tmp_path / "state")
    for name in ("alpha", "beta"):
        write_json(state.create_cluster(name).resource, {})
        if name == "alpha":
            assert state.cluster(None).name == "alpha"
    assert state.cluster("beta").name == "beta"
    with pytest.raises(ClusterNotFound, match="alpha, beta"):
        state.cluster(None)
    with pytest.raises(ClusterNotFound, match="there are: alpha, beta"):
        state.cluster("gamma")


def test_deleting_the_last_cluster_takes_the_state_directory_away(tmp_path: Path) -> None:
    """Nothing is left behind; with another cluster in it the directory stays."""
    state = StateDirectory.at(tmp_path / "state")
    alpha, beta = state.create_cluster("alpha"), state.create_cluster("beta")
    state.delete_cluster(alpha)
    assert beta.path.is_dir()
    state.delete_cluster(beta)
    assert not state.path.exists()


def test_cluster_folder_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    """Deletion stays inside the state directory."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    state = StateDirectory.at(tmp_path / "state")
    state.create_cluster("beta")
    os.symlink(elsewhere, state.path / "alpha")
    with pytest.raises(StateDirectoryRefused, match="nothing was deleted"):
        state.delete_cluster(state.create_cluster("alpha"))
    assert elsewhere.is_dir()


def test_json_is_written_privately_and_read_back(tmp_path: Path) -> None:
    """A missing file reads as None; a corrupt one is named."""
    file = tmp_path / "value.json"
    assert read_json(file) is None
    write_json(file, {"a": [1, 2]})
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_json(file) == {"a": [1, 2]}
    file.write_text("{")
    with pytest.raises(LocalError, match=r"value\.json is not valid JSON"):
        read_json(file)


def test_nodes_are_listed_in_order_of_ordinal(tmp_path: Path) -> None:
    """demo-10 comes after demo-2."""
    directory = StateDirectory.at(tmp_path / "state").create_cluster("demo")
    for ordinal in (10, 2, 0):
        directory.node(f"demo-{ordinal}").path.mkdir()
    assert directory.node_names() == ("demo-0", "demo-2", "demo-10")
