"""A local restore: never over a cluster, over data, or beside another csctl; repeated after an interruption."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from collectionstore_local.commands import restoring
from collectionstore_local.commands.restoring import ProgramFailed, RestoreRefused, prepare, restore
from collectionstore_local.state.directory import ClusterBusy, ClusterDirectory, ClusterNotFound, StateDirectory
from collectionstore_local.state.manifest import Manifest
from collectionstore_local.state.run_state import RunState, read_run_state, write_run_state
from collectionstore_testkit.clusters.ports import free_base_port

PORTS = range(23_000, 25_000)


@pytest.fixture
def state(tmp_path: Path) -> StateDirectory:
    return StateDirectory.at(tmp_path / "state")


@pytest.fixture
def loaded(state: StateDirectory) -> Manifest:
    return prepare(state, "copy", None, free_base_port(60, within=PORTS))


def program(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Have `text` run in place of collectionstore-backup; `data` is the data directory that it is to make."""
    head = "import sys, os, pathlib; data = pathlib.Path(sys.argv[sys.argv.index('--data-dir') + 1]); "
    monkeypatch.setattr(restoring, "PROGRAM", (sys.executable, "-c", head + text))


WORKS = "data.mkdir(); (data / 'IDENTITY').write_text('{}')"


def content(directory: ClusterDirectory) -> dict[str, bytes]:
    return {str(one): one.read_bytes() for one in directory.path.rglob("*") if one.is_file()}


def test_a_restore_makes_a_cluster_that_is_to_run(
    state: StateDirectory, loaded: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch, WORKS)
    directory, _ = restore(state, loaded, ())
    assert read_run_state(directory) is RunState.RUNNING
    assert directory.resource.exists()
    with directory.edit_lock(wait=False):
        pass


def test_a_restore_that_failed_leaves_nothing(
    state: StateDirectory, loaded: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(monkeypatch, "data.mkdir(); sys.exit(8)")
    with pytest.raises(ProgramFailed):
        restore(state, loaded, ())
    assert not (state.path / "copy").exists()


@pytest.mark.parametrize("mark", [True, False], ids=["half restored", "empty"])
def test_what_an_interrupted_restore_left_is_cleared(
    state: StateDirectory, loaded: Manifest, monkeypatch: pytest.MonkeyPatch, *, mark: bool
) -> None:
    data = state.create_cluster("copy").node("copy-0").data
    data.mkdir(parents=True)
    if mark:
        (data / "RESTORING").write_text("a backup")
        (data / "restore").mkdir()
    program(monkeypatch, WORKS)

    directory, _ = restore(state, loaded, ())

    assert [one.name for one in directory.node("copy-0").data.iterdir()] == ["IDENTITY"]


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("nodes/copy-0/data/IDENTITY", "nodes/copy-0/data/IDENTITY"),
        ("nodes/copy-2/data/CURRENT", "nodes/copy-2/data/CURRENT"),
        ("nodes/copy-0/retired/1/IDENTITY", "nodes/copy-0/retired"),
        ("ca/ca.key", "ca"),
        ("notes.txt", "notes.txt"),
        ("nodes/file", "nodes/file"),
    ],
)
def test_anything_else_is_named_and_stays(
    state: StateDirectory, loaded: Manifest, monkeypatch: pytest.MonkeyPatch, path: str, shown: str
) -> None:
    """Also beside the mark of a restore: a directory with an IDENTITY is complete."""
    program(monkeypatch, WORKS)
    directory = state.create_cluster("copy")
    file = directory.path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("precious")
    if file.name == "IDENTITY":
        (file.parent / "RESTORING").write_text("a backup")
    before = content(directory)

    with pytest.raises(RestoreRefused, match=f"it has .*{shown}"):
        prepare(state, "copy", None, None)
    with pytest.raises(RestoreRefused, match="Nothing was deleted"):
        restore(state, loaded, ())

    assert before.items() <= content(directory).items()


def test_a_cluster_that_was_made_since_the_check_stays(
    state: StateDirectory, loaded: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` of the same name between `prepare` and `restore`."""
    program(monkeypatch, WORKS)
    directory = state.create_cluster("copy")
    write_run_state(directory, RunState.RUNNING)
    before = content(directory)
    with pytest.raises(RestoreRefused, match="there is a cluster copy"):
        restore(state, loaded, ())
    assert before.items() <= content(directory).items()


def test_two_restores_of_one_name_exclude_each_other(
    state: StateDirectory, loaded: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Check: also when the first csctl has ended and left its program running: that inherits the lock."""
    directory = state.create_cluster("copy")
    with directory.edit_lock() as lock:
        kept = os.dup(lock)
    try:
        program(monkeypatch, WORKS)
        with pytest.raises(ClusterBusy, match="another csctl"):
            restore(state, loaded, ())
        assert not directory.node("copy-0").path.exists()
    finally:
        os.close(kept)
    restored, _ = restore_with_checked_lock(state, loaded, monkeypatch)
    assert restored == directory


def restore_with_checked_lock(
    state: StateDirectory, loaded: Manifest, monkeypatch: pytest.MonkeyPatch
) -> tuple[ClusterDirectory, object]:
    """Restore by a program that fails unless one of its descriptors is the lock."""
    lock = state.path / "copy" / "edit.lock"
    text = (
        f"{WORKS}; held = any(os.path.samestat(os.fstat(int(fd)), os.stat({str(lock)!r})) "
        "for fd in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)); sys.exit(not held)"
    )
    program(monkeypatch, text)
    return restore(state, loaded, ())


def test_the_lock_of_a_directory_that_was_deleted_meanwhile_is_worth_nothing(state: StateDirectory) -> None:
    directory = state.create_cluster("copy")
    with directory.edit_lock():
        state.delete_cluster(directory)
        state.create_cluster("copy")
        with directory.edit_lock(wait=False):
            pass
    state.delete_cluster(directory)
    with pytest.raises(ClusterNotFound, match="deleted meanwhile"), directory.edit_lock():
        pass
