"""The state of the reconcile loop and the run state outlive the supervisor."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_local.errors import LocalError
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.operator_state import OperatorStateFile
from collectionstore_local.state.run_state import RunState, read_run_state, write_run_state


@pytest.fixture
def directory(tmp_path: Path) -> ClusterDirectory:
    return StateDirectory.at(tmp_path / "state").create_cluster("demo")


def test_run_state_is_kept(directory: ClusterDirectory) -> None:
    """Running is the default."""
    assert read_run_state(directory) is RunState.RUNNING
    write_run_state(directory, RunState.STOPPED)
    assert read_run_state(directory) is RunState.STOPPED


def test_operator_state_survives_the_supervisor(directory: ClusterDirectory) -> None:
    """The next one reads what the last one wrote; a corrupt file is an error, never an empty state."""
    OperatorStateFile(directory.operator_state).change(cluster_id="c0ffee", epoch=3)
    assert OperatorStateFile(directory.operator_state).current.epoch == 3
    directory.operator_state.write_text("{")
    with pytest.raises(LocalError, match="is corrupt"):
        OperatorStateFile(directory.operator_state)
