"""A copy of a member's directory becomes the first member of a new cluster, under another name: once, and whole."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.raft.messages import Configuration
from collectionstore_node.recovery import Instruction, NewIdentity, adopt, recover
from collectionstore_node.recovery.rewrite import RecoveryStep, recovery_steps
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.members import read_membership
from collectionstore_node.statemachine.reads import get_document
from collectionstore_node.storage import Database
from collectionstore_node.tests.recovery.test_rewrite import COMMITTED, LAST, NONCE, fill
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import SMALL

NEW = NewIdentity("new", "demo-0.peers:7401", "https://demo-0.peers:7400", name="demo-0", keeps_epoch=False)
REQUEST = "fedcba9876543210"


@pytest.fixture
def origin(tmp_path: Path) -> tuple[Path, Instruction]:
    directory = tmp_path / "origin"
    return directory, fill(directory)


def check_adopted(path: Path) -> int:
    """Check that all of the log took effect, and that the member is a cluster of its own; return its revision."""
    database = Database.open(path, cluster_id="new", name="demo-0", tuning=SMALL)
    try:
        own = database.identity.node_id
        for index in (4, COMMITTED, COMMITTED + 2, LAST):
            assert get_document(database.state, "books", f"d{index}") is not None
        record = read_membership(database.state)
        assert database.state.applied.configuration == Configuration(voters=(own,))
        assert [(one.name, one.address, one.http_address) for one in record.members] == [
            ("demo-0", NEW.peer_address, NEW.client_address)
        ]
        assert record.epoch == 0, "the operator of the new cluster would be fenced by that of the old one"
        return read_header(database.state).revision
    finally:
        database.close()


def test_a_copy_becomes_another_member_of_another_cluster_and_the_original_stays(
    origin: tuple[Path, Instruction], tmp_path: Path
) -> None:
    directory, instruction = origin
    copy = images.copy(directory, tmp_path / "copy")
    adopted = adopt(copy, REQUEST, NEW)
    assert not adopted.already
    assert adopted.node_id != f"{instruction.node_id:016x}"
    assert check_adopted(copy) == adopted.revision > NEW.bump_revision
    database = Database.open(directory, cluster_id="old", name="n1", tuning=SMALL)
    assert database.identity.node_id == instruction.node_id
    database.close()


def test_a_second_time_changes_nothing(origin: tuple[Path, Instruction]) -> None:
    first = adopt(origin[0], REQUEST, NEW)
    assert adopt(origin[0], REQUEST, NEW) == first._replace(already=True)
    check_adopted(origin[0])


@pytest.mark.parametrize("done", range(len(RecoveryStep)))
def test_killed_after_any_step_it_is_completed_as_the_same_incarnation(
    origin: tuple[Path, Instruction], tmp_path: Path, done: int
) -> None:
    directory, instruction = origin
    steps = recovery_steps(directory, instruction._replace(nonce=REQUEST), NEW, tuning=SMALL)
    taken = list(islice(steps, done))
    image = images.copy(directory, tmp_path / "image")
    steps.close()
    begun = image / "RECOVERING"
    before = json.loads(begun.read_text())["node_id"] if begun.exists() else None
    if RecoveryStep.MARKED in taken and RecoveryStep.FINISHED not in taken:
        with pytest.raises(DataDirectoryRefused):
            Database.open(image, cluster_id="new", name="demo-0", tuning=SMALL)
    adopted = adopt(image, REQUEST, NEW)
    assert before in (None, adopted.node_id)
    assert check_adopted(image) == adopted.revision
    assert adopt(image, REQUEST, NEW).revision == adopted.revision, "the revision is raised once"


def test_a_copy_of_a_recovered_member_can_be_adopted(origin: tuple[Path, Instruction]) -> None:
    """Its RECOVERED is of the cluster that the copy is of."""
    directory, instruction = origin
    between = recover(directory, instruction, NewIdentity("between", "h:1", "http://h:2"), tuning=SMALL)
    adopted = adopt(directory, REQUEST, NEW)
    assert adopted.revision == between.revision + NEW.bump_revision
    check_adopted(directory)


def test_a_copy_of_an_adopted_member_can_be_adopted_again(origin: tuple[Path, Instruction]) -> None:
    adopt(origin[0], REQUEST, NEW)
    third = NEW._replace(cluster_id="third", name="n7")
    adopted = adopt(origin[0], REQUEST, third)
    assert not adopted.already
    assert adopt(origin[0], REQUEST, third) == adopted._replace(already=True)


def test_a_copy_from_the_middle_of_a_recovery_is_refused(origin: tuple[Path, Instruction]) -> None:
    directory, instruction = origin
    steps = recovery_steps(directory, instruction, NewIdentity("between", "h:1", "http://h:2"), tuning=SMALL)
    assert RecoveryStep.MARKED in list(islice(steps, 2))
    steps.close()
    with pytest.raises(DataDirectoryRefused, match=f"is recovered for nonce {NONCE}"):
        adopt(directory, REQUEST, NEW)


def test_what_was_adopted_for_another_request_is_refused(origin: tuple[Path, Instruction]) -> None:
    adopt(origin[0], REQUEST, NEW)
    with pytest.raises(DataDirectoryRefused, match=f"is recovered for nonce {REQUEST}"):
        adopt(origin[0], NONCE, NEW)
    with pytest.raises(DataDirectoryRefused):
        adopt(origin[0], REQUEST, NEW._replace(name="demo-1"))


def test_an_empty_volume_is_refused_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(DataDirectoryRefused, match="nothing to adopt"):
        adopt(tmp_path, REQUEST, NEW)
    assert not list(tmp_path.iterdir())


def test_a_member_of_the_new_cluster_is_no_copy(origin: tuple[Path, Instruction]) -> None:
    with pytest.raises(DataDirectoryRefused, match="an ID of its own"):
        adopt(origin[0], REQUEST, NEW._replace(cluster_id="old"))


def test_the_command_says_what_it_did_and_ends_with_the_code_of_refused_data(
    origin: tuple[Path, Instruction], tmp_path: Path
) -> None:
    arguments = ["--name", "demo-0", "--request", REQUEST, "--cluster-id", "new"]
    arguments += ["--peer-address", NEW.peer_address, "--client-address", NEW.client_address]
    command = [sys.executable, "-m", "collectionstore_node", "adopt", *arguments, "--data-dir"]
    ran = subprocess.run([*command, str(origin[0])], check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout)["applied_index"] == LAST
    check_adopted(origin[0])
    (tmp_path / "empty").mkdir()
    wrong = subprocess.run([*command, str(tmp_path / "empty")], check=False, capture_output=True, text=True)
    assert (wrong.returncode, "nothing to adopt" in wrong.stderr) == (65, True)
