"""A survivor's data directory becomes that of a new cluster: once, whole, and at no moment that of both."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.metrics import ReplicaMetrics, member_metrics
from collectionstore_node.raft.configuration import next_configuration
from collectionstore_node.raft.messages import (
    NO_NODE,
    Change,
    ChangeKind,
    ConfigChange,
    Configuration,
    Entry,
    EntryKind,
    HardState,
    Index,
    NodeId,
    Term,
    chain_hash,
    decode_change,
    encode,
)
from collectionstore_node.recovery import Instruction, NewIdentity, recover
from collectionstore_node.recovery.rewrite import RecoveryStep, recovery_steps
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.settings import RECOVER_PATTERN
from collectionstore_node.statemachine.commands import Command, CreateCollection, DocumentRef, Put, encode_batch
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.members import MemberInfo, MembershipContext, encode_context, read_membership
from collectionstore_node.statemachine.reads import get_document
from collectionstore_node.storage import Database
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import SMALL

NEW = NewIdentity("new", "127.0.0.1:7411", "http://127.0.0.1:7410")
NONCE = "0123456789abcdef"
OTHERS = (NodeId(0xB2), NodeId(0xC3))
COMMITTED, LAST = 30, 40
"""Entries behind COMMITTED were received by this member, and not known to be committed."""
TERM = Term(6)


def fill(path: Path) -> Instruction:
    """Make the directory of member `n1` of cluster `old`, one of three voters, and return how to recover it."""
    database = Database.open(path, cluster_id="old", name="n1", tuning=SMALL)
    own = database.identity.node_id
    log, state = database.log, database.state
    applier = Applier(state, ReplicaMetrics(member_metrics(enabled=False)).disk, database.raise_level)

    def activate(change: Entry) -> Configuration:
        return next_configuration(state.applied.configuration, decode_change(change.data))

    infos = tuple(
        MemberInfo(one, f"n{number}", f"h{number}:1", f"http://h{number}")
        for number, one in enumerate([own, *OTHERS], 1)
    )
    voters = ConfigChange(
        tuple(Change(ChangeKind.ADD_VOTER, NodeId(one.node_id)) for one in infos),
        encode_context(MembershipContext(9, infos)),
    )
    # The end of the log has a change of the membership, too: recovered, it must not bring the old members back.
    learner = ConfigChange((Change(ChangeKind.ADD_LEARNER, NodeId(0xD4)),), encode_context(MembershipContext(9)))
    chain = log.chain(Index(0))
    for index in range(1, LAST + 1):
        term = Term(5) if index <= COMMITTED else TERM
        if index in (1, COMMITTED + 5):
            kind, data = EntryKind.CHANGE, encode(voters if index == 1 else learner)
        elif index in (2, COMMITTED + 1):
            kind, data = EntryKind.NOOP, b""
        else:
            command = (
                CreateCollection("books") if index == 3 else Put(DocumentRef("books", f"d{index}"), b'{"n":%d}' % index)
            )
            kind, data = EntryKind.COMMANDS, encode_batch(1_000 * index, [Command(command)])
        chain = chain_hash(chain, Index(index), term, kind, data)
        log.append(
            [Entry(Index(index), term, kind, data, chain)], HardState(term, NO_NODE, Index(min(index, COMMITTED)))
        )
    log.append((), HardState(TERM, OTHERS[0], Index(COMMITTED)))
    log.sync()
    for entry in log.entries(Index(1), Index(COMMITTED + 1), 1 << 30):
        applier.apply((entry,), activate)
    database.close()
    return Instruction("n1", own, "old", NONCE)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def instruction(directory: Path) -> Instruction:
    return fill(directory)


def reopen(path: Path) -> Database:
    return Database.open(path, cluster_id="new", name="n1", tuning=SMALL)


def files(path: Path) -> dict[str, bytes]:
    """Return what a directory holds, but its lock and what RocksDB writes about itself whenever it is opened."""
    return {
        str(one.relative_to(path)): one.read_bytes()
        for one in path.rglob("*")
        if one.is_file() and one.name != "LOCK" and "rocks" not in one.parts
    }


def check_recovered(path: Path, revision_before: int = LAST - 4) -> None:
    """Check that all of the log took effect, and that the member is a cluster of its own."""
    database = reopen(path)
    try:
        own = database.identity.node_id
        for index in (4, COMMITTED, COMMITTED + 2, LAST):
            assert get_document(database.state, "books", f"d{index}") is not None
        applied, record = database.state.applied, read_membership(database.state)
        assert (applied.index, applied.configuration) == (LAST, Configuration(voters=(own,)))
        assert record.node_ids == (own,)
        assert [(one.name, one.address) for one in record.members] == [("n1", "127.0.0.1:7411")]
        assert {*OTHERS, NodeId(0xD4)} <= set(record.removed)
        assert own not in record.removed
        assert record.epoch == 9, "a fenced operator must stay fenced"
        assert database.log.last_index() == LAST
        hard = database.log.hard_state()
        assert (hard.term > TERM, hard.vote, hard.commit) == (True, NO_NODE, LAST)
        assert read_header(database.state).revision >= revision_before + NEW.bump_revision
    finally:
        database.close()


def test_all_of_the_log_is_kept_and_the_member_is_a_cluster_of_its_own(
    directory: Path, instruction: Instruction
) -> None:
    found = recover(directory, instruction, NEW, tuning=SMALL)
    assert not found.already
    assert found.node_id != f"{instruction.node_id:016x}"
    check_recovered(directory)


def test_the_old_cluster_cannot_have_the_directory_back(directory: Path, instruction: Instruction) -> None:
    recover(directory, instruction, NEW, tuning=SMALL)
    with pytest.raises(DataDirectoryRefused, match="belongs to cluster 'new', not 'old'"):
        Database.open(directory, cluster_id="old", name="n1")


def test_a_second_time_changes_nothing(directory: Path, instruction: Instruction) -> None:
    first = recover(directory, instruction, NEW, tuning=SMALL)
    before = files(directory)
    second = recover(directory, instruction, NEW, tuning=SMALL)
    assert second == first._replace(already=True)
    assert files(directory) == before


@pytest.mark.parametrize("done", range(len(RecoveryStep)))
def test_killed_after_any_step_it_is_completed_once(
    directory: Path, instruction: Instruction, tmp_path: Path, done: int
) -> None:
    """Step: take a crash image after `done` steps. Check: no node starts on it but as before, or wholly recovered."""
    steps = recovery_steps(directory, instruction, NEW, tuning=SMALL)
    taken = list(islice(steps, done))
    image = images.copy(directory, tmp_path / "image")
    steps.close()

    for cluster_id in ("old", "new"):
        trial = images.copy(image, tmp_path / f"trial-{cluster_id}")
        whole = RecoveryStep.FINISHED in taken and cluster_id == "new"
        untouched = RecoveryStep.MARKED not in taken and cluster_id == "old"
        if whole or untouched:
            Database.open(trial, cluster_id=cluster_id, name="n1", tuning=SMALL).close()
        else:
            with pytest.raises(DataDirectoryRefused):
                Database.open(trial, cluster_id=cluster_id, name="n1", tuning=SMALL)

    before = json.loads((image / "RECOVERING").read_text())["node_id"] if (image / "RECOVERING").exists() else None
    found = recover(image, instruction, NEW, tuning=SMALL)
    check_recovered(image)
    assert before in (None, found.node_id), "an interrupted recovery goes on as the same incarnation"
    revision = recover(image, instruction, NEW, tuning=SMALL).revision
    assert revision == found.revision, "the revision is raised once"


CRASHING = """
import os, signal, sys
from pathlib import Path
from collectionstore_node.recovery import Instruction, NewIdentity, recover
from collectionstore_node.tests.storage.entries import SMALL

left = int(sys.argv[3])
NEW = NewIdentity("new", "127.0.0.1:7411", "http://127.0.0.1:7410")

def count(event, args):
    # Every file of the directory that is created, renamed or removed, and every one that is opened for writing.
    global left
    if event in ("os.rename", "os.remove", "open") and str(args[0]).startswith(sys.argv[1]):
        if event == "open" and not (isinstance(args[2], int) and args[2] & (os.O_CREAT | os.O_RDWR | os.O_WRONLY)):
            return
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
recover(Path(sys.argv[1]), Instruction.parse(sys.argv[2]), NEW, tuning=SMALL)
"""


def test_sigkill_before_every_change_of_a_file(directory: Path, instruction: Instruction, tmp_path: Path) -> None:
    """On ONE directory, killed one change later each time, until it gets through."""
    text = f"n1/{instruction.node_id:016x}/old/{NONCE}"
    for step in range(60):
        ended = subprocess.run([sys.executable, "-c", CRASHING, str(directory), text, str(step)], check=False)
        if ended.returncode == 0:
            break
        assert ended.returncode == -9
    else:
        pytest.fail("it never got through")
    assert step > 5
    check_recovered(directory)


def refused(directory: Path, instruction: Instruction, new: NewIdentity, says: str) -> None:
    before = files(directory)
    with pytest.raises(DataDirectoryRefused, match=says):
        recover(directory, instruction, new, tuning=SMALL)
    assert files(directory) == before


def test_another_incarnation_than_the_chosen_one_is_refused(directory: Path, instruction: Instruction) -> None:
    refused(directory, instruction._replace(node_id=1), NEW, "holds the incarnation .*, which was chosen")


def test_another_member_is_refused(directory: Path, instruction: Instruction) -> None:
    refused(directory, instruction._replace(name="n2"), NEW, "belongs to member 'n1', not 'n2'")


def test_data_of_another_cluster_are_refused(directory: Path, instruction: Instruction) -> None:
    refused(directory, instruction._replace(cluster_id="else"), NEW, "belongs to cluster 'old', not 'else'")


def test_the_new_cluster_needs_an_id_of_its_own(directory: Path, instruction: Instruction) -> None:
    refused(directory, instruction, NEW._replace(cluster_id="old"), "an ID of its own")


def test_another_nonce_is_refused_while_it_is_recovered_and_after(directory: Path, instruction: Instruction) -> None:
    other = instruction._replace(nonce="f" * 16)
    steps = recovery_steps(directory, instruction, NEW, tuning=SMALL)
    assert list(islice(steps, 2))[-1] is RecoveryStep.MARKED
    steps.close()
    refused(directory, other, NEW, "is recovered for nonce 0123456789abcdef")
    recover(directory, instruction, NEW, tuning=SMALL)
    refused(directory, other, NEW, "is recovered for nonce 0123456789abcdef")


def test_an_empty_directory_never_becomes_the_survivor(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    refused(tmp_path / "data", Instruction("n1", 7, "old", NONCE), NEW, "has no data")


def test_a_member_that_has_replicated_nothing_has_nothing_to_recover(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "data", cluster_id="old", name="n1", tuning=SMALL)
    own = database.identity.node_id
    database.close()
    with pytest.raises(DataDirectoryRefused, match="nothing to recover"):
        recover(tmp_path / "data", Instruction("n1", own, "old", NONCE), NEW, tuning=SMALL)
    Database.open(tmp_path / "data", cluster_id="old", name="n1", tuning=SMALL).close()


def test_quarantined_data_are_refused(directory: Path, instruction: Instruction) -> None:
    (directory / "CONDEMNED").write_bytes(b"Its digest is abc.\n")
    refused(directory, instruction, NEW, "is quarantined")


def test_a_damaged_log_is_refused_and_left_as_it_is(directory: Path, instruction: Instruction) -> None:
    """A survivor that lost entries which it had acknowledged is no survivor."""
    wal = images.wals(directory)[-1] if images.wals(directory) else None
    tables = sorted(directory.glob("rocks/*.sst"))
    damaged = max([*([wal] if wal else []), *tables], key=lambda one: one.stat().st_size)
    for offset in range(64, damaged.stat().st_size - 64, 97):
        images.flip(damaged, offset)
    refused(directory, instruction, NEW, "corrupt|cannot be recovered|Corruption")


def test_a_damaged_mark_is_refused(directory: Path, instruction: Instruction) -> None:
    (directory / "RECOVERING").write_bytes(b"{")
    refused(directory, instruction, NEW, "RECOVERING is corrupt")


def test_a_member_that_joined_the_new_cluster_is_left_alone(
    tmp_path: Path, directory: Path, instruction: Instruction
) -> None:
    """The instruction is in the environment of all members until the operator takes it away."""
    database = Database.open(tmp_path / "joined", cluster_id="new", name="n1", tuning=SMALL)
    database.close()
    assert recover(tmp_path / "joined", instruction, NEW, tuning=SMALL).already


def test_the_text_of_an_instruction() -> None:
    text = "demo-0/00c0ffee00c0ffee/1f2e3d4c/0123456789abcdef"
    assert RECOVER_PATTERN.fullmatch(text)
    assert Instruction.parse(text) == Instruction("demo-0", 0xC0FFEE00C0FFEE, "1f2e3d4c", NONCE)
    for wrong in ("", "demo-0", text + "!", text.replace("/", ":"), text.upper()):
        with pytest.raises(ValueError, match="allowed: member/node ID/cluster ID/nonce"):
            Instruction.parse(wrong)


def test_the_command_says_what_it_did(directory: Path, instruction: Instruction) -> None:
    arguments = ["--survivor", f"n1/{instruction.node_id:016x}/old/{NONCE}", "--cluster-id", "new"]
    arguments += ["--peer-address", "127.0.0.1:7411", "--client-address", "http://127.0.0.1:7410"]
    command = [sys.executable, "-m", "collectionstore_node", "recover", "--data-dir", str(directory), *arguments]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(ran.stdout)["applied_index"] == LAST
    check_recovered(directory)
    command[command.index("new")] = "third"
    again = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (again.returncode, "belongs to cluster 'new', not 'old'" in again.stderr) == (65, True)
