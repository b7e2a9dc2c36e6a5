"""A restored directory is a member of a new cluster with exactly the state of the backup; or nothing starts on it."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from collectionstore_node.backup.errors import Corrupt, CredentialsRefused, InvalidUse, NotFound, Refused
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.restore import (
    BUILDING,
    MARK,
    REQUEST,
    NewMember,
    Restored,
    restore_directory,
    restored_for,
)
from collectionstore_node.backup.stored import open_backup
from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.metrics import ReplicaMetrics, member_metrics
from collectionstore_node.raft.messages import NodeId
from collectionstore_node.replica import Clocks, Driver, LocalMember, ProcessFacts, Replica
from collectionstore_node.statemachine.commands import Command, DocumentRef, Put
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.keys import MEMBERSHIP_KEY
from collectionstore_node.statemachine.members import read_membership
from collectionstore_node.statemachine.reads import get_document
from collectionstore_node.storage import Database
from collectionstore_node.storage.directory_lock import LOCK_FILE
from collectionstore_node.tests.backup.conftest import KEY
from collectionstore_node.tests.backup.sample import OLD_NODES, SampleState
from collectionstore_node.tests.replica.group import SETTINGS, Wires, WireTransport

Make = Callable[..., Manifest]
NEW = NewMember("new", "new-0", "127.0.0.1:7411", "http://127.0.0.1:7410")


def restore(
    repository: Repository, made: Manifest, target: Path, key: bytes | None = None, bump_revision: int = 0
) -> Restored:
    manifest, sealer = open_backup(repository, made.id, key)
    return restore_directory(repository, manifest, sealer, target, NEW, bump_revision=bump_revision)


def reopen(target: Path) -> Database:
    return Database.open(target, cluster_id="new", name="new-0")


def contents(database: Database) -> dict[bytes, bytes]:
    return dict(database.state.scan(b"", b"\xff"))


def without_members(records: dict[bytes, bytes]) -> dict[bytes, bytes]:
    return {key: value for key, value in records.items() if key != MEMBERSHIP_KEY}


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_every_byte_of_the_state_comes_back(
    repository: Repository, make: Make, state: SampleState, tmp_path: Path, key: bytes | None
) -> None:
    """Init: a backup. Step: restore it. Check: all records but the membership are equal, byte for byte."""
    made = make(repository, key)

    restored = restore(repository, made, tmp_path / "data", key)

    database = reopen(tmp_path / "data")
    assert without_members(contents(database)) == without_members(dict(state.records))
    header = read_header(database.state)
    assert header == state.header
    assert (restored.revision, restored.state_digest) == (header.revision, made.state_digest)
    assert (restored.applied_index, restored.term) == (made.applied_index, made.term) == (500, 4)
    assert database.log.hard_state().commit == database.log.last_index() == 500
    assert database.log.chain(database.log.last_index()).hex() == made.chain
    database.close()


def test_cluster_member_and_incarnation_are_new(directory: Repository, make: Make, tmp_path: Path) -> None:
    made = make(directory)
    first = restore(directory, made, tmp_path / "one")
    second = restore(directory, made, tmp_path / "two")

    assert first.node_id != second.node_id
    database = reopen(tmp_path / "one")
    record = read_membership(database.state)
    own = database.identity.node_id
    assert f"{own:016x}" == first.node_id
    assert [(one.node_id, one.name, one.address, one.http_address) for one in record.members] == [
        (own, "new-0", "127.0.0.1:7411", "http://127.0.0.1:7410")
    ]
    assert record.node_ids == database.state.applied.configuration.voters == (own,)
    assert set(record.removed) == {*OLD_NODES, 0x77}
    assert record.epoch == 0
    database.close()
    with pytest.raises(DataDirectoryRefused, match="belongs to cluster 'new', not 'old'"):
        Database.open(tmp_path / "one", cluster_id="old", name="n1")


async def test_a_member_leads_and_writes_on_a_restored_directory(
    directory: Repository, make: Make, tmp_path: Path
) -> None:
    """Revisions go on where the backup ends, and terms beyond it."""
    made = make(directory)
    restore(directory, made, tmp_path / "data")
    database = await asyncio.to_thread(reopen, tmp_path / "data")
    local = LocalMember(
        database, SETTINGS, ReplicaMetrics(member_metrics()), Clocks(Random(1).random, lambda: 0, lambda: 0.0)
    )
    transport = WireTransport(database.identity.node_id, Wires())
    driver = Driver(local, transport)
    replica = Replica(local, driver, transport, ProcessFacts("test", 1, "a:1", "http://a", "a:1", "a:1", "a:1"))
    running = asyncio.create_task(driver.run())
    try:
        loop = asyncio.get_running_loop()
        await local.consensus.until(lambda: replica.is_leader, loop.time() + 30)
        outcome = await replica.propose(Command(Put(DocumentRef("books", "new"), b"{}")), timeout_s=30)

        assert outcome.revision == made.revision + 1
        assert local.raft_status().term > made.term
        assert get_document(replica.view, "books", "d000007") is not None
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await replica.close()
        await driver.close()
        local.close()
        database.close()


def test_a_revision_can_be_raised_beyond_what_clients_have_seen(
    directory: Repository, make: Make, tmp_path: Path
) -> None:
    made = make(directory)
    assert restore(directory, made, tmp_path / "data", bump_revision=1_000_000).revision == made.revision + 1_000_000
    database = reopen(tmp_path / "data")
    assert read_header(database.state).revision == made.revision + 1_000_000
    database.close()
    with pytest.raises(InvalidUse, match="bump-revision"):
        restore(directory, made, tmp_path / "other", bump_revision=-1)


# What is refused


def test_nothing_is_restored_over_data(directory: Repository, make: Make, tmp_path: Path) -> None:
    made = make(directory)
    target = tmp_path / "data"
    restore(directory, made, target)
    before = {path: path.read_bytes() for path in target.rglob("*") if path.is_file()}
    for present in ("anything", "IDENTITY"):
        other = tmp_path / present
        other.mkdir()
        (other / present).write_text("mine")
        with pytest.raises(Refused, match="is not empty: it has"):
            restore(directory, made, other)
        assert [one.name for one in other.iterdir()] == [present]

    with pytest.raises(Refused, match="never replaces data"):
        restore(directory, made, target)
    assert {path: path.read_bytes() for path in target.rglob("*") if path.is_file()} == before


def test_the_new_cluster_needs_another_name(directory: Repository, make: Make, tmp_path: Path) -> None:
    made = make(directory)
    manifest, sealer = open_backup(directory, made.id, None)
    with pytest.raises(Refused, match="an ID of its own"):
        restore_directory(directory, manifest, sealer, tmp_path / "data", NEW._replace(cluster_id="old"))
    assert not (tmp_path / "data").exists()


def test_a_disk_without_room_is_refused_before_anything_is_written(
    directory: Repository, make: Make, tmp_path: Path
) -> None:
    made = make(directory)
    huge = msgspec.structs.replace(made, content_bytes=1 << 60)
    with pytest.raises(Refused, match="MiB free; the restore needs about"):
        restore_directory(directory, huge, None, tmp_path / "data", NEW)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_wrong_key_is_refused_before_anything_is_written(directory: Repository, make: Make, tmp_path: Path) -> None:
    made = make(directory, KEY)
    with pytest.raises(CredentialsRefused):
        restore(directory, made, tmp_path / "data", b"x" * 32)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("part", [0, 1, -1])
@pytest.mark.parametrize("at", [0, 100, -1])
def test_a_damaged_backup_is_not_restored_and_a_node_refuses_what_is_left(
    directory: Repository, make: Make, tmp_path: Path, part: int, at: int
) -> None:
    made = make(directory)
    path = sorted((tmp_path / "repository").rglob("*.part"))[part]
    whole = path.read_bytes()
    changed = bytearray(whole)
    changed[at] ^= 4
    path.write_bytes(changed)

    with pytest.raises(Corrupt):
        restore(directory, made, tmp_path / "data")
    with pytest.raises(DataDirectoryRefused, match="not empty, but has no IDENTITY"):
        reopen(tmp_path / "data")

    path.write_bytes(whole)
    restore(directory, made, tmp_path / "data")
    reopen(tmp_path / "data").close()


# Interrupted

CRASHING = """
import os, signal, sys
from pathlib import Path
from collectionstore_node.backup import restore
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.stored import open_backup

left = int(sys.argv[4])

def count(event, args):
    # Every call that creates, renames or removes a file of the target, or of the folder it is built in, is a step.
    global left
    target = sys.argv[3]
    places = (target, os.path.join(target, restore.BUILDING))
    if event in ("os.rename", "os.remove", "os.mkdir", "open") and os.path.dirname(str(args[0])) in places:
        if event == "open" and not args[2] & os.O_CREAT:
            return
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

repository = Repository(sys.argv[1])
manifest, sealer = open_backup(repository, sys.argv[2], None)
sys.addaudithook(count)
member = restore.NewMember("new", "new-0", "127.0.0.1:7411", "http://127.0.0.1:7410")
restore.restore_directory(repository, manifest, sealer, Path(sys.argv[3]), member)
"""


def test_a_restore_killed_at_any_step_is_refused_by_a_node_and_can_be_repeated(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path
) -> None:
    """SIGKILL before each change of the target in turn, until the restore gets through. Check after each: a node
    finds the whole state, or refuses the directory; and another restore completes it.
    """
    made = make(directory)
    step, outcomes = 0, []
    while True:
        target = tmp_path / f"data-{step}"
        done = subprocess.run(
            [sys.executable, "-c", CRASHING, directory.url, made.id, str(target), str(step)],
            check=False,
            capture_output=True,
            env=os.environ,
        )
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        started = _starts(target, state)
        outcomes.append(started)
        if not started:
            restore(directory, made, target)
        assert _starts(target, state)
        step += 1
    assert outcomes.count(False) > 5
    assert sorted(outcomes) == outcomes, "a directory that was complete became incomplete"


def _starts(target: Path, state: SampleState) -> bool:
    """Return whether a node would start on `target`, and check that it finds everything then."""
    if not target.exists() or {one.name for one in target.iterdir()} <= {LOCK_FILE}:
        return False  # an empty directory, as if there had been no restore
    try:
        database = reopen(target)
    except DataDirectoryRefused:
        return False
    found = without_members(contents(database))
    database.close()
    assert found == without_members(dict(state.records))
    return True


def test_the_mark_of_an_interrupted_restore_protects_nothing_else(
    directory: Repository, make: Make, tmp_path: Path
) -> None:
    """A complete directory with a mark, as a crash just before its removal leaves it, is data."""
    made = make(directory)
    restore(directory, made, tmp_path / "data")
    (tmp_path / "data" / MARK).write_text("left")
    (tmp_path / "data" / BUILDING).mkdir()

    with pytest.raises(Refused, match="never replaces data"):
        restore(directory, made, tmp_path / "data")
    reopen(tmp_path / "data").close()


def test_node_ids_of_the_old_cluster_stay_removed_through_a_second_restore(
    directory: Repository, make: Make, tmp_path: Path
) -> None:
    made = make(directory)
    restored = restore(directory, made, tmp_path / "data")
    database = reopen(tmp_path / "data")
    assert NodeId(int(restored.node_id, 16)) not in read_membership(database.state).removed
    database.close()


def restore_for(repository: Repository, made: Manifest, target: Path, request: str) -> Restored:
    manifest, sealer = open_backup(repository, made.id, None)
    return restore_directory(repository, manifest, sealer, target, NEW, request=request)


def test_a_directory_that_was_restored_for_a_request_is_recognized(
    directory: Repository, make: Make, tmp_path: Path
) -> None:
    """Also after its node has run on it; for another request, member or cluster it is not."""
    target = tmp_path / "data"
    assert not restored_for(target, NEW, "one")
    made = make(directory)
    restore_for(directory, made, target, "one")
    assert restored_for(target, NEW, "one")
    reopen(target).close()
    assert restored_for(target, NEW, "one")
    assert not restored_for(target, NEW, "two")
    assert not restored_for(target, NEW._replace(cluster_id="other"), "one")
    assert not restored_for(target, NEW._replace(name="new-1"), "one")


def test_a_directory_without_a_request_is_recognized_by_none(directory: Repository, make: Make, tmp_path: Path) -> None:
    restore(directory, make(directory), tmp_path / "data")
    assert not (tmp_path / "data" / REQUEST).exists()
    assert not restored_for(tmp_path / "data", NEW, "one")
    with pytest.raises(Refused, match="is not empty"):
        restore_for(directory, make(directory), tmp_path / "data", "one")


def test_an_interrupted_restore_is_not_recognized_and_is_repeated(
    directory: Repository, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Init: a restore that ends when all but IDENTITY is in place. Check: a repetition completes it."""
    target, replace = tmp_path / "data", os.replace

    def until_identity(source: Path, to: Path) -> None:
        if Path(to) == target / "IDENTITY":
            raise KeyboardInterrupt
        replace(source, to)

    made = make(directory)
    monkeypatch.setattr(os, "replace", until_identity)
    with pytest.raises(KeyboardInterrupt):
        restore_for(directory, made, target, "one")
    monkeypatch.undo()
    assert (target / REQUEST).exists()
    assert not restored_for(target, NEW, "one")
    restore_for(directory, made, target, "one")
    assert restored_for(target, NEW, "one")


def test_a_directory_that_is_missing_is_no_backup_and_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no such directory"):
        Repository((tmp_path / "none").as_uri(), create=False)
    assert not (tmp_path / "none").exists()
