"""The store's revision, as reported by a running replica: it counts commands and never decreases."""

from __future__ import annotations

from pathlib import Path

from collectionstore_node.metrics import DiskSeries, member_metrics
from collectionstore_node.raft.messages import GENESIS_CHAIN, Configuration, Entry, EntryKind, Index, Term, chain_hash
from collectionstore_node.replica.persistence.applier import Applier
from collectionstore_node.statemachine.commands import Command, Idempotency, KeyRef, Put, encode_batch
from collectionstore_node.statemachine.reads import read_revision
from collectionstore_node.storage import Database


def no_change(_: Entry) -> Configuration:
    raise AssertionError("no membership changes here")


def test_repeated_request_does_not_take_the_revision_back(tmp_path: Path) -> None:
    """Its answer carries the revision of its first time; what reads tell of the store is the newest all the same."""
    database = Database.open(tmp_path / "data", cluster_id="c", name="n-0")
    applier = Applier(database.state, DiskSeries(member_metrics()))
    once = Command(Put(KeyRef("b", "k"), b"1"), Idempotency("key", bytes(32)))
    other = Command(Put(KeyRef("b", "other"), b"2"))
    chain = GENESIS_CHAIN
    for number, commands in enumerate(([once], [other, other], [once]), 1):
        data = encode_batch(number, commands)
        chain = chain_hash(chain, Index(number), Term(1), EntryKind.COMMANDS, data)
        entry = Entry(Index(number), Term(1), EntryKind.COMMANDS, data, chain)
        (result,) = applier.apply((entry,), no_change)
    assert [(one.revision, one.replayed) for one in result.outcomes] == [(1, True)]
    assert applier.revision == read_revision(database.state) == 4
    database.close()
