"""Applied entries continue the state's history, and the reported digests are those of the state."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from collectionstore_node.errors import InvariantViolated, MessageRejected
from collectionstore_node.metrics import DiskSeries, member_metrics
from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    Configuration,
    Entry,
    EntryKind,
    Heartbeat,
    Index,
    InstallSnapshot,
    NodeId,
    SnapshotMetadata,
    Term,
    chain_hash,
    encode,
)
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.replica.persistence.checkpoints import CHECKPOINT_ENTRIES
from collectionstore_node.replica.snapshots.received import check_snapshot, snapshot_message
from collectionstore_node.statemachine.commands import Command, KeyRef, Put, encode_batch
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.storage import Database
from collectionstore_node.tests.storage.entries import SMALL, open_database


def history(count: int, *, kind: EntryKind = EntryKind.COMMANDS) -> tuple[Entry, ...]:
    """Return entries with one put each; every seventh is empty, as at the beginning of a term."""
    chain, entries = GENESIS_CHAIN, []
    for number in range(1, count + 1):
        kind = EntryKind.NOOP if number % 7 == 0 else EntryKind.COMMANDS
        data = b"" if kind is EntryKind.NOOP else encode_batch(number, [Command(Put(KeyRef("b", "k"), b"%d" % number))])
        index, term = Index(number), Term(1)
        chain = chain_hash(chain, index, term, kind, data)
        entries.append(Entry(index, term, kind, data, chain))
    return tuple(entries)


def no_change(_entry: Entry) -> Configuration:
    raise AssertionError("there is no membership change")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(tmp_path / "n1")


@pytest.mark.parametrize(
    "damage",
    [
        lambda one: msgspec.structs.replace(one, data=one.data[:-1] + b"!"),
        lambda one: msgspec.structs.replace(one, chain=b"x" * 32),
        lambda one: msgspec.structs.replace(one, term=Term(2)),
        lambda one: msgspec.structs.replace(one, kind=EntryKind.NOOP),
    ],
    ids=["data", "chain", "term", "kind"],
)
@pytest.mark.parametrize("at", [0, 2])
def test_entry_that_was_damaged_in_memory_is_not_applied(database: Database, damage: object, at: int) -> None:
    """It was whole when it was received and stored; here it would take effect."""
    assert callable(damage)
    applier, entries = Applier(database.state, DiskSeries(member_metrics())), list(history(5))
    applier.apply(tuple(entries[:2]), no_change)
    rest = entries[2:]
    rest[at] = damage(rest[at])
    with pytest.raises(InvariantViolated, match=f"entry {3 + at} does not continue"):
        applier.apply(tuple(rest), no_change)
    assert database.state.applied.index == 2
    database.close()


def test_entry_that_was_left_out_or_repeated_is_noticed(database: Database) -> None:
    applier, entries = Applier(database.state, DiskSeries(member_metrics())), history(5)
    applier.apply(entries[:2], no_change)
    for wrong in (entries[3:], entries[1:]):
        with pytest.raises(InvariantViolated, match="does not continue"):
            applier.apply(wrong, no_change)
    applier.apply(entries[2:], no_change)
    database.close()


def test_checkpoints_do_not_depend_on_batches_restarts_or_snapshots(tmp_path: Path) -> None:
    """One member applies one at a time, one in batches, one restarts, one begins with a snapshot: all agree."""
    entries = history(3 * CHECKPOINT_ENTRIES + 10)
    slow, fast, restarted, late = (
        Database.open(tmp_path / name, cluster_id="test", name=name, tuning=SMALL)
        for name in ("slow", "fast", "restarted", "late")
    )
    applier = Applier(slow.state, DiskSeries(member_metrics()))
    for entry in entries:
        applier.apply((entry,), no_change)
    slow_told = {one.index: one.digest for one in applier.checkpoints()}
    applier = Applier(fast.state, DiskSeries(member_metrics()))
    for start in range(0, len(entries), 97):
        applier.apply(entries[start : start + 97], no_change)
    assert {one.index: one.digest for one in applier.checkpoints()} == slow_told
    assert list(slow_told) == [CHECKPOINT_ENTRIES, 2 * CHECKPOINT_ENTRIES, 3 * CHECKPOINT_ENTRIES, len(entries)]

    Applier(restarted.state, DiskSeries(member_metrics())).apply(entries[:600], no_change)
    applier = Applier(restarted.state, DiskSeries(member_metrics()))
    applier.apply(entries[600:], no_change)
    reported = {one.index: one.digest for one in applier.checkpoints()}
    assert reported == {index: slow_told[index] for index in (Index(3 * CHECKPOINT_ENTRIES), Index(len(entries)))}

    exported = slow.export_snapshot(slow.spool)
    late.install_snapshot(exported.path)
    applier = Applier(late.state, DiskSeries(member_metrics()))
    assert [one.digest for one in applier.checkpoints()] == [slow_told[Index(len(entries))]]
    assert read_digest(late.state) == read_digest(slow.state)
    for database in (slow, fast, restarted, late):
        database.close()


def test_snapshot_is_refused_unless_it_is_whole_and_what_was_announced(database: Database) -> None:
    """In the file's hashes: entry, chain and configuration in its header, the state's digest in its records."""
    Applier(database.state, DiskSeries(member_metrics())).apply(history(5), no_change)
    exported = database.export_snapshot(database.spool)
    check_snapshot(exported.path, exported.metadata)
    for announced in (
        msgspec.structs.replace(exported.metadata, chain=b"o" * 32),
        msgspec.structs.replace(exported.metadata, index=Index(6)),
        msgspec.structs.replace(exported.metadata, configuration=Configuration(voters=(NodeId(3),))),
    ):
        with pytest.raises(MessageRejected, match="was announced as"):
            check_snapshot(exported.path, announced)
    data = exported.path.read_bytes()
    digest = read_digest(database.state)
    assert data.count(digest) == 1
    exported.path.write_bytes(data.replace(digest, b"o" * 32))
    with pytest.raises(MessageRejected, match="is corrupt"):
        check_snapshot(exported.path, exported.metadata)
    database.close()


SENDER, ME = NodeId(3), NodeId(1)


def test_snapshot_in_the_name_of_another_is_refused() -> None:
    """A follower could give out a snapshot of its own as the leader's: the transport does not open envelopes."""
    message = InstallSnapshot(SENDER, ME, Term(3), SnapshotMetadata(Index(9), Term(3)))
    assert snapshot_message(SENDER, encode((message,))) == message
    with pytest.raises(MessageRejected, match="in the name of"):
        snapshot_message(NodeId(2), encode((message,)))


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"\xc1",
        b"\x91" * 5000,
        encode(()),
        encode((Heartbeat(SENDER, ME, Term(3), Index(0)),)),
        encode((InstallSnapshot(SENDER, ME, Term(3), SnapshotMetadata()),) * 2),
    ],
    ids=["empty", "garbage", "nested", "nothing", "another message", "two"],
)
def test_envelope_that_holds_something_else_is_refused(envelope: bytes) -> None:
    with pytest.raises(MessageRejected):
        snapshot_message(SENDER, envelope)
