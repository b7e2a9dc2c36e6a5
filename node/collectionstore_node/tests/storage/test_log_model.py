"""The stored log against a list, through any sequence of changes and restarts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collectionstore_node.raft.messages import GENESIS_CHAIN, Entry, HardState, Index, SnapshotMetadata, Term
from collectionstore_node.storage import Database
from collectionstore_node.tests.storage.crashing_writer import check
from collectionstore_node.tests.storage.entries import apply, entries, metadata, open_database

_ALL = 1 << 30


@pytest.fixture(scope="module")
def long_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Database, list[Entry]]]:
    """A log that begins at 21 and of which only the end is in memory, and what is in it."""
    database = open_database(tmp_path_factory.mktemp("long"))
    made: list[Entry] = []
    for number, size in enumerate((10, 200, 3000, 1, 700) * 24):
        previous = made[-1].chain if made else GENESIS_CHAIN
        made += entries(number + 1, number + 1, previous, size=size)
    database.log.append(made, HardState(Term(1)))
    apply(database, 20)
    database.log.compact(metadata(database, 20))
    yield database, made[20:]
    database.close()


@settings(deadline=None)
@given(lo=st.integers(21, 121), count=st.integers(0, 100), bytes_max=st.integers(0, 9000))
def test_any_range_comes_back_as_stored(
    long_log: tuple[Database, list[Entry]], lo: int, count: int, bytes_max: int
) -> None:
    """From disk, from memory and across: as many entries as fit, the first in any case."""
    database, stored = long_log
    hi = min(lo + count, 121)
    expected: list[Entry] = []
    for entry in stored[lo - 21 : hi - 21]:
        if expected and sum(len(e.data) for e in expected) + len(entry.data) > bytes_max:
            break
        expected.append(entry)
    assert database.log.entries(Index(lo), Index(hi), bytes_max) == tuple(expected)


class LogModel(RuleBasedStateMachine):
    """`kept` is what the log must hold behind `snapshot`."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._database: Database = open_database(Path(self._directory.name))
        self.kept: list[Entry] = []
        self.snapshot = SnapshotMetadata()
        self.hard_state = HardState()

    @initialize()
    def begin(self) -> None:
        """Start in term 1."""
        self.hard_state = HardState(Term(1))
        self._database.log.append((), self.hard_state)

    @rule(count=st.integers(1, 12), size=st.sampled_from((0, 100, 3000)))
    def append(self, count: int, size: int) -> None:
        """A leader goes on."""
        last = self.last
        made = entries(last + 1, last + count, self.chain(last), term=self.hard_state.term, size=size)
        self._database.log.append(made, None)
        self.kept += made

    @rule(back=st.integers(1, 30), count=st.integers(1, 12))
    def replace(self, back: int, count: int) -> None:
        """A new leader replaces uncommitted entries."""
        self.hard_state = HardState(Term(self.hard_state.term + 1), self.hard_state.vote, self.hard_state.commit)
        last = max(self.hard_state.commit, self.last - back)
        made = entries(last + 1, last + count, self.chain(last), term=self.hard_state.term)
        self._database.log.append(made, self.hard_state)
        self.kept = [entry for entry in self.kept if entry.index <= last] + made

    @precondition(lambda self: self.hard_state.commit < self.last)
    @rule(count=st.integers(1, 20))
    def commit(self, count: int) -> None:
        """Entries are committed and applied, after they are durable."""
        commit = min(self.last, self.hard_state.commit + count)
        self.hard_state = HardState(self.hard_state.term, self.hard_state.vote, Index(commit))
        self._database.log.sync()
        self._database.log.append((), self.hard_state)
        first = self._database.state.applied.index + 1
        for index in range(first, commit + 1):
            apply(self._database, index, {b"slot%02d" % (index % 40): b"%d" % index})

    @rule(back=st.integers(0, 10))
    def compact(self, back: int) -> None:
        """The log is cut behind what is applied."""
        to = self._database.state.applied.index - back
        if to > self.snapshot.index:
            self.snapshot = metadata(self._database, to)
            self._database.log.compact(self.snapshot)
            self.kept = [entry for entry in self.kept if entry.index > to]

    @rule()
    def sync(self) -> None:
        """Everything is made durable."""
        self._database.log.sync()

    @rule()
    def reopen(self) -> None:
        """The node restarts."""
        self._database.close()
        self._database = open_database(Path(self._directory.name))
        check(self._database)

    @rule(lo=st.integers(0, 40), count=st.integers(0, 40), bytes_max=st.sampled_from((0, 300, 5000, _ALL)))
    def read(self, lo: int, count: int, bytes_max: int) -> None:
        """A range comes back whole, or cut where the bytes say."""
        stored = self.kept[lo : lo + count]
        if not stored:
            return
        found = self._database.log.entries(stored[0].index, Index(stored[-1].index + 1), bytes_max)
        assert list(found) == stored[: len(found)]
        assert found
        assert len(found) == 1 or sum(len(entry.data) for entry in found) <= bytes_max
        more = stored[: len(found) + 1]
        assert len(found) == len(stored) or sum(len(entry.data) for entry in more) > bytes_max

    @invariant()
    def ends_and_hard_state_agree(self) -> None:
        """The cheap facts, after every step."""
        log = self._database.log
        assert (log.snapshot(), log.last_index()) == (self.snapshot, self.last)
        assert log.hard_state() == self.hard_state
        assert (log.term(log.last_index()), log.chain(log.last_index())) == (
            self.kept[-1].term if self.kept else self.snapshot.term,
            self.chain(self.last),
        )

    def teardown(self) -> None:
        """Compare everything once more, from memory and from disk."""
        log = self._database.log
        assert list(log.entries(log.first_index(), Index(log.last_index() + 1), _ALL)) == self.kept
        self._database.close()
        self._directory.cleanup()

    @property
    def last(self) -> Index:
        """The last index that the log must have."""
        return Index(self.snapshot.index + len(self.kept))

    def chain(self, index: int) -> bytes:
        """Return the chain value that the log must have at `index`."""
        return self.kept[index - self.snapshot.index - 1].chain if index > self.snapshot.index else self.snapshot.chain


LogModel.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=25,
    deadline=None,
    # Every example makes a data directory, which a busy disk makes slow.
    suppress_health_check=[HealthCheck.too_slow],
)
test_log_agrees_with_a_list = LogModel.TestCase
