"""The log: reading across memory and disk, truncation, and completions that come late."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.errors import InvariantViolated
from collectionstore_node.raft.log import TAIL_ENTRIES_MAX, RaftLog
from collectionstore_node.raft.log_reader import Compacted, Unavailable
from collectionstore_node.raft.messages import (
    GENESIS_CHAIN,
    Configuration,
    Entry,
    EntryKind,
    Index,
    NodeId,
    SnapshotMetadata,
    Term,
    chain_hash,
)
from collectionstore_node.tests.raft.memory_log import MemoryLog
from collectionstore_node.tests.raft.solo import make_entries


def open_log(stored: tuple[Entry, ...] = (), *, compacted_to: int = 0, commit: int = 0) -> tuple[RaftLog, MemoryLog]:
    reader = MemoryLog(stored)
    if compacted_to:
        last = stored[compacted_to - 1]
        reader.compact(SnapshotMetadata(last.index, last.term, last.chain, Configuration((NodeId(1),))))
    return RaftLog(reader, Index(max(commit, compacted_to)), Index(compacted_to)), reader


def store(log: RaftLog, reader: MemoryLog) -> None:
    reader.append(log.unwritten())
    log.durable_to(log.begin_write(None, []))


def test_empty_log_has_term_0_at_index_0() -> None:
    log, _ = open_log()
    assert (log.last_index, log.last_term, log.term(Index(0)), log.chain(Index(0))) == (0, 0, 0, GENESIS_CHAIN)
    assert log.first_index() == 1


def test_own_entries_are_chained() -> None:
    log, _ = open_log()
    first = log.append_own(Term(1), EntryKind.COMMANDS, b"a")
    second = log.append_own(Term(1), EntryKind.NOOP, b"")
    assert first.chain == chain_hash(GENESIS_CHAIN, Index(1), Term(1), EntryKind.COMMANDS, b"a")
    assert second.chain == chain_hash(first.chain, Index(2), Term(1), EntryKind.NOOP, b"")


@settings(max_examples=150)
@given(
    stored=st.integers(0, 6),
    tail=st.integers(0, 6),
    compacted=st.integers(0, 4),
    lo=st.integers(1, 13),
    length=st.integers(0, 12),
    bytes_max=st.integers(1, 30),
)
def test_entries_are_the_same_wherever_they_lie(
    stored: int, tail: int, compacted: int, lo: int, length: int, bytes_max: int
) -> None:
    """`[lo, hi)`, cut at the limit but never empty, whether stored, in memory, or across the border."""
    everything = make_entries([1] * (stored + tail), data=b"12345")
    log, _ = open_log(everything[:stored], compacted_to=min(compacted, stored))
    if tail:
        log.append(everything[stored:])
    hi = lo + length
    if length == 0:
        assert log.entries(Index(lo), Index(hi), bytes_max) == ()
    elif hi > stored + tail + 1:
        with pytest.raises(Unavailable):
            log.entries(Index(lo), Index(hi), bytes_max)
    elif lo <= min(compacted, stored):
        with pytest.raises(Compacted):
            log.entries(Index(lo), Index(hi), bytes_max)
    else:
        count = min(length, max(1, bytes_max // 5))
        assert log.entries(Index(lo), Index(hi), bytes_max) == everything[lo - 1 : lo - 1 + count]


def test_compacted_terms_are_gone_even_from_memory() -> None:
    """Index 0 of a compacted log must not pass for the start of an empty one (etcd-io/raft 76f1249)."""
    log, reader = open_log()
    log.append(make_entries([1, 1, 2, 2]))
    store(log, reader)
    log.commit_to(Index(4))
    log.applied_to(Index(4))
    kept = log.entries(Index(3), Index(4), 100)[0]
    reader.compact(SnapshotMetadata(kept.index, kept.term, kept.chain, Configuration((NodeId(1),))))
    assert log.first_index() == 4
    assert log.term(Index(3)) == 2
    for index in (0, 1, 2):
        with pytest.raises(Compacted):
            log.term(Index(index))
        assert not log.match_term(Index(index), Term(0))
    with pytest.raises(Compacted):
        log.entries(Index(3), Index(5), 100)


def test_append_replaces_a_conflicting_suffix() -> None:
    old = make_entries([1, 1, 1, 1])
    log, reader = open_log(old)
    new = make_entries([2, 2], after=old[1])
    assert log.find_conflict(new) == 0
    log.append(new)
    assert (log.last_index, log.last_term, log.stable) == (4, 2, 2)
    assert log.unwritten() == new
    assert log.entries(Index(1), Index(5), 100) == old[:2] + new
    store(log, reader)
    assert reader.entries(Index(1), Index(5), 100) == old[:2] + new


def test_find_conflict_skips_what_is_already_here() -> None:
    old = make_entries([1, 1, 2])
    log, _ = open_log(old)
    assert log.find_conflict(old) == 3
    assert log.find_conflict(old[:1]) == 1
    assert log.find_conflict((*old, *make_entries([3], after=old[2]))) == 3
    assert log.find_conflict((old[1], *make_entries([3], after=old[1]))) == 1


def test_append_refuses_a_gap() -> None:
    log, _ = open_log()
    with pytest.raises(InvariantViolated, match="leaves a gap"):
        log.append(make_entries([1, 1])[1:])


def test_committed_entry_is_never_replaced() -> None:
    old = make_entries([1, 1])
    log, _ = open_log(old, commit=2)
    with pytest.raises(InvariantViolated, match="commit index"):
        log.append(make_entries([2], after=old[0]))


def test_commit_never_falls_and_never_passes_the_end() -> None:
    log, _ = open_log(make_entries([1, 1, 1]), commit=2)
    assert not log.commit_to(Index(1))
    assert log.commit == 2
    with pytest.raises(InvariantViolated, match="lost"):
        log.commit_to(Index(4))


def test_commit_beyond_the_end_refuses_to_open() -> None:
    """L19: entries were lost; waiting for them would never end (PySyncObj PR#197)."""
    with pytest.raises(InvariantViolated, match="lost"):
        RaftLog(MemoryLog(make_entries([1])), Index(2), Index(0))


def test_applied_above_the_stored_commit_raises_commit() -> None:
    """The stored commit is a hint; what was applied was committed (etcd-io/etcd#10217 panics here)."""
    log = RaftLog(MemoryLog(make_entries([1, 1, 1])), Index(1), Index(2))
    assert (log.commit, log.applied) == (2, 2)


@pytest.mark.parametrize("applied", [1, 4])
def test_applied_outside_the_log_refuses_to_open(applied: int) -> None:
    reader = MemoryLog(make_entries([1, 1, 1]))
    kept = reader.entries(Index(2), Index(3), 100)[0]
    reader.compact(SnapshotMetadata(kept.index, kept.term, kept.chain))
    with pytest.raises(InvariantViolated, match="outside"):
        RaftLog(reader, Index(3), Index(applied))


def test_late_completion_does_not_cover_what_replaced_the_entry() -> None:
    """S12, the ABA race: an index was overwritten while its first version was being stored."""
    first = make_entries([1, 1, 1])
    log, _ = open_log()
    log.append(first)
    old = log.begin_write(None, [])
    log.append(make_entries([2], after=first[1]))
    log.durable_to(old)
    assert log.stable == 2, "the common part is durable, entry 3 of term 1 is not part of this log any more"
    assert [entry.term for entry in log.unwritten()] == [2]


def test_late_completion_does_not_cover_an_entry_that_was_replaced_and_came_back() -> None:
    """S12: the same index and term again, but a crash may leave what was written in between."""
    first = make_entries([1, 1, 1])
    log, _ = open_log()
    log.append(first)
    writes = [log.begin_write(None, [])]
    log.append(make_entries([2], after=first[0]))
    writes.append(log.begin_write(None, []))
    log.append(first[1:])
    writes.append(log.begin_write(None, []))
    stable = []
    for write in writes:
        log.durable_to(write)
        stable.append(log.stable)
    assert stable == [1, 1, 3]


def test_one_completion_covers_all_the_writes_before_it() -> None:
    first = make_entries([1, 1, 1])
    log, _ = open_log()
    log.append(first[:1])
    old = log.begin_write(None, [])
    log.append(first[1:])
    assert log.unwritten() == first[1:]
    new = log.begin_write(None, [])
    assert [write.number for write in log.durable_to(new)] == [old, new]
    assert log.stable == 3
    assert log.durable_to(old) == []
    with pytest.raises(InvariantViolated, match="handed out"):
        log.durable_to(new + 1)


def test_committed_entries_are_applicable_whether_durable_here_or_not() -> None:
    """A majority of others may commit what this disk still works on (thesis 10.2.1)."""
    log, _ = open_log(make_entries([1]))
    log.append(make_entries([1, 1])[1:])
    log.commit_to(Index(2))
    assert [entry.index for entry in log.next_committed(100)] == [1, 2]


def test_applicable_is_paged_without_gaps() -> None:
    """S20: pages by bytes, each starting where the last was applied."""
    log, _ = open_log(make_entries([1] * 7, data=b"12345"), commit=7)
    seen = []
    while log.has_next_committed():
        page = log.next_committed(12)
        seen += [entry.index for entry in page]
        log.applied_to(page[-1].index)
    assert seen == [1, 2, 3, 4, 5, 6, 7]


def test_applied_never_falls_and_never_passes_commit() -> None:
    log, _ = open_log(make_entries([1, 1, 1]), commit=2)
    log.applied_to(Index(2))
    for index in (1, 3):
        with pytest.raises(InvariantViolated, match="applied"):
            log.applied_to(Index(index))


@pytest.mark.parametrize(
    ("index", "term", "expected"),
    [
        (9, 9, (9, 6)),
        (9, 5, (8, 5)),
        (9, 3, (3, 3)),
        (9, 2, (1, 1)),
        (5, 3, (3, 3)),
        (2, 3, (2, 3)),
        (9, 0, (0, 0)),
        (0, 5, (0, 0)),
    ],
)
def test_last_with_term_at_most_finds_the_backtracking_point(index: int, term: int, expected: tuple[int, int]) -> None:
    """The follower's half of fast backtracking (Raft 5.3, end; example of etcd-io/raft)."""
    log, _ = open_log(make_entries([1, 3, 3, 4, 4, 5, 5, 5, 6]))
    assert log.find_conflict_by_term(Index(index), Term(term)) == expected


def test_last_with_term_at_most_stops_at_the_compacted_part() -> None:
    log, _ = open_log(make_entries([2, 2, 5, 5]), compacted_to=2)
    assert log.find_conflict_by_term(Index(4), Term(3)) == (2, 2)
    assert log.find_conflict_by_term(Index(4), Term(1)) == (1, 0)
    assert log.find_conflict_by_term(Index(1), Term(9)) == (1, 0)


@pytest.mark.parametrize(
    ("index", "term", "expected"), [(2, 3, True), (3, 2, True), (2, 2, True), (1, 2, False), (9, 1, False)]
)
def test_up_to_date_compares_terms_before_lengths(*, index: int, term: int, expected: bool) -> None:
    """Raft 5.4.1."""
    log, _ = open_log(make_entries([1, 2]))
    assert log.is_up_to_date(Index(index), Term(term)) is expected


def test_restore_replaces_everything() -> None:
    log, reader = open_log(make_entries([1, 1, 1]), commit=1)
    snapshot = SnapshotMetadata(Index(9), Term(4), b"c" * 32, Configuration((NodeId(1),)))
    log.restore(snapshot)
    assert (log.first_index(), log.last_index, log.last_term, log.commit) == (10, 9, 4, 9)
    assert (log.term(Index(9)), log.chain(Index(9))) == (4, b"c" * 32)
    with pytest.raises(Compacted):
        log.term(Index(8))
    behind = make_entries([4], after=snapshot)
    log.append(behind)
    assert log.unwritten() == behind
    assert not log.has_next_committed(), "nothing is applied before the snapshot is installed"
    reader.install(snapshot)
    store(log, reader)
    log.stable_snapshot_to(snapshot)
    log.commit_to(Index(10))
    assert log.next_committed(100) == behind


def test_a_second_snapshot_may_overtake_the_first() -> None:
    """L16: two snapshots in short order (etcd-io/etcd#18055)."""
    log, reader = open_log()
    first = SnapshotMetadata(Index(5), Term(2), b"a" * 32, Configuration((NodeId(1),)))
    second = SnapshotMetadata(Index(9), Term(3), b"b" * 32, Configuration((NodeId(1),)))
    log.restore(first)
    log.restore(second)
    reader.install(first)
    log.stable_snapshot_to(first)
    assert (log.applied, log.last_index, log.pending_snapshot) == (5, 9, second)
    reader.install(second)
    log.stable_snapshot_to(second)
    assert (log.applied, log.pending_snapshot) == (9, None)


def test_memory_of_stored_entries_is_bounded() -> None:
    count = TAIL_ENTRIES_MAX + 10
    everything = make_entries([1] * count, data=b"")
    log, reader = open_log()
    log.append(everything)
    assert len(log._tail) == count, "what is not stored stays"
    store(log, reader)
    assert len(log._tail) <= TAIL_ENTRIES_MAX // 2
    lo = Index(log._tail_first - 3)
    assert log.entries(lo, Index(lo + 6), 100) == everything[lo - 1 : lo + 5]


def test_changes_are_counted_across_pages() -> None:
    plain = make_entries([1, 1])
    change = make_entries([1], after=plain[-1], kind=EntryKind.CHANGE)
    more = make_entries([1], after=change[-1])
    again = make_entries([1], after=more[-1], kind=EntryKind.CHANGE)
    log, _ = open_log(plain + change)
    log.append(more + again)
    assert log.count_changes(Index(1), Index(6), at_most=9) == 2
    assert log.count_changes(Index(1), Index(6), at_most=1) == 1
    assert log.find_change(Index(1), Index(3)) == 0
    assert log.find_change(Index(3), Index(4)) == 3


class UnreadableLog(MemoryLog):
    """A disk that fails to read."""

    def entries(self, lo: Index, hi: Index, bytes_max: int) -> tuple[Entry, ...]:
        raise OSError("unreadable")


def test_read_error_is_raised_and_never_looks_like_an_empty_log() -> None:
    """S19 (databendlabs/openraft#1795)."""
    log = RaftLog(UnreadableLog(make_entries([1, 1])), Index(2), Index(0))
    with pytest.raises(OSError, match="unreadable"):
        log.next_committed(100)


class ForgetfulLog(MemoryLog):
    """A disk that returns nothing where there should be entries."""

    def entries(self, lo: Index, hi: Index, bytes_max: int) -> tuple[Entry, ...]:
        return ()


def test_missing_entries_are_an_alarm() -> None:
    log = RaftLog(ForgetfulLog(make_entries([1, 1])), Index(2), Index(0))
    with pytest.raises(InvariantViolated, match="no entry 1"):
        log.next_committed(100)
