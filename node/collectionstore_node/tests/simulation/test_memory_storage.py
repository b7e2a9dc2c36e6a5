"""The simulated disk against RocksDB: the same operations return the same, through kills and installs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from collectionstore_node.errors import DataDirectoryRefused, InvariantViolated, StorageFailed
from collectionstore_node.raft.messages import Entry, HardState, Index, NodeId, Term
from collectionstore_node.storage import Database
from collectionstore_node.tests.simulation.memory_storage import TUNING, MemoryDatabase, MemoryDisk
from collectionstore_node.tests.storage import images
from collectionstore_node.tests.storage.entries import apply, contents, entries, extend, metadata, open_database

_ALL = 1 << 30


def facts(database: Database) -> object:
    """Return everything that a database reports of itself."""
    log = database.log
    first, last = log.first_index(), log.last_index()
    return (
        (first, last, log.snapshot(), log.hard_state(), log.size_bytes),
        log.entries(first, Index(last + 1), _ALL),
        [log.term(Index(index)) for index in range(first - 1, last + 1)],
        database.state.applied,
        contents(database),
    )


class Twins(RuleBasedStateMachine):
    """Every rule does the same to a real database and to a simulated one."""

    def __init__(self) -> None:
        super().__init__()
        self._directory = tempfile.TemporaryDirectory()
        self._path = Path(self._directory.name)
        self._lives = 0
        self.real: Database = open_database(self._path / "real-0", TUNING)
        self.disk = MemoryDisk(self._path / "memory")
        self.memory: MemoryDatabase = self.disk.open("test", "n1", self.real.identity.node_id)

    @initialize()
    def begin(self) -> None:
        """Start in term 1."""
        for twin in self.both:
            twin.log.append((), HardState(Term(1)))

    @property
    def both(self) -> tuple[Database, Database]:
        """The twins."""
        return self.real, self.memory

    @property
    def last(self) -> Index:
        """The last stored index."""
        return self.memory.log.last_index()

    def made(self, first: int, count: int, term: int) -> list[Entry]:
        """Return entries that may follow behind `first - 1`."""
        previous = self.memory.log.chain(Index(first - 1))
        return entries(first, first + count - 1, previous, term=term)

    @rule(count=st.integers(1, 8))
    def append(self, count: int) -> None:
        """A leader goes on."""
        made = self.made(self.last + 1, count, self.memory.log.hard_state().term)
        for twin in self.both:
            twin.log.append(made, None)

    @rule(back=st.integers(0, 12), count=st.integers(1, 8), vote=st.booleans())
    def replace(self, back: int, count: int, *, vote: bool) -> None:
        """A new leader replaces a suffix, or tries to replace what is committed."""
        old = self.memory.log.hard_state()
        first = max(self.last + 1 - back, self.memory.log.first_index())
        made = self.made(first, count, old.term + 1)
        new = HardState(Term(old.term + 1), NodeId(7 if vote else 0), old.commit)
        outcomes = []
        for twin in self.both:
            try:
                twin.log.append(made, new)
                outcomes.append("")
            except InvariantViolated as error:
                outcomes.append(str(error))
        assert outcomes[0] == outcomes[1]

    @precondition(lambda self: self.memory.log.hard_state().commit < self.last)
    @rule(count=st.integers(1, 10), drop=st.booleans())
    def commit(self, count: int, *, drop: bool) -> None:
        """Entries are committed and applied: values change, some go."""
        old = self.memory.log.hard_state()
        commit = Index(min(self.last, old.commit + count))
        for twin in self.both:
            twin.log.sync()
            twin.log.append((), HardState(old.term, old.vote, commit))
            apply(twin, commit, {b"slot%02d" % (commit % 9): None if drop else b"%d" % commit, b"at": b"%d" % commit})

    @rule(back=st.integers(0, 5))
    def compact(self, back: int) -> None:
        """The log is cut behind what is applied."""
        to = self.memory.state.applied.index - back
        if to > self.memory.log.snapshot().index:
            for twin in self.both:
                twin.log.compact(metadata(twin, to))

    @rule(marked=st.booleans())
    def sync(self, *, marked: bool) -> None:
        """Everything is made durable."""
        for twin in self.both:
            twin.log.sync_entries()
            if marked:
                assert twin.log.sync_marker()

    @rule()
    def kill(self) -> None:
        """The process is killed: what was written is there, synced or not."""
        self._lives += 1
        image = images.copy(self._path / f"real-{self._lives - 1}", self._path / f"real-{self._lives}")
        self.real.close()
        self.real = open_database(image, TUNING)
        self.memory = self.disk.open("test", "n1", self.real.identity.node_id)

    @rule(ahead=st.integers(1, 20), term=st.integers(0, 1))
    def install(self, ahead: int, term: int) -> None:
        """A snapshot of a longer log takes the place of everything."""
        index = self.memory.log.last_index() + ahead
        old = self.memory.log.hard_state()
        for twin in self.both:
            # A snapshot is taken only from a leader whose term is known.
            twin.log.append((), HardState(Term(old.term + term), old.vote if term == 0 else NodeId(0), old.commit))
        with tempfile.TemporaryDirectory() as directory:
            donor = open_database(Path(directory) / "donor", TUNING)
            extend(donor, index, term=old.term + term)
            apply(donor, index, {b"donated%d" % number: b"%d" % index for number in range(30)})
            file = donor.export_snapshot(Path(directory))
            for twin in self.both:
                twin.install_snapshot(file.path)
            donor.close()

    @precondition(lambda self: self.memory.state.applied.index > 0)
    @rule()
    def export(self) -> None:
        """Snapshot files are the same to the byte."""
        files = [twin.export_snapshot(twin.spool) for twin in self.both]
        assert files[0].path.read_bytes() == files[1].path.read_bytes()
        assert files[0].sha256 == files[1].sha256
        for file in files:
            file.path.unlink()

    @invariant()
    def twins_are_alike(self) -> None:
        """After every step, everything that can be asked is answered alike."""
        assert facts(self.real) == facts(self.memory)

    def teardown(self) -> None:
        """Let go of the files."""
        for twin in self.both:
            twin.close()
        self._directory.cleanup()


Twins.TestCase.settings = settings(
    max_examples=10,
    stateful_step_count=15,
    deadline=None,
    # Every example makes a data directory, which a busy disk makes slow.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
test_simulated_disk_agrees_with_rocksdb = Twins.TestCase


@pytest.fixture
def disk(tmp_path: Path) -> MemoryDisk:
    """An empty disk."""
    return MemoryDisk(tmp_path / "disk")


def opened(disk: MemoryDisk) -> MemoryDatabase:
    """Open it."""
    return disk.open("test", "n1", NodeId(5))


def test_power_takes_only_what_was_not_synced(disk: MemoryDisk) -> None:
    """Some beginning of what was written since the last sync is there; every length is met."""
    lengths = set()
    for seed in range(40):
        disk.wipe()
        database = opened(disk)
        extend(database, 10)
        database.log.sync()
        for last in range(11, 16):
            extend(database, last)
        disk.lose_power(Random(seed))
        lengths.add(opened(disk).log.last_index())
    assert lengths == {10, 11, 12, 13, 14, 15}


def test_nothing_reaches_the_disk_of_a_dead_process(disk: MemoryDisk) -> None:
    """What a killed process's code still tries is refused."""
    dead = opened(disk)
    extend(dead, 5)
    database = opened(disk)
    for attempt in (lambda: extend(dead, 6), dead.log.sync, dead.log.sync_entries):
        with pytest.raises(StorageFailed):
            attempt()
    assert database.log.last_index() == 5
    dead.close()


def test_failed_sync_stops_everything_and_leaves_the_fate_open(disk: MemoryDisk) -> None:
    """Nothing works afterwards; the next start finds any beginning of what was written."""
    found = set()
    for seed in range(20):
        disk.wipe()
        database = opened(disk)
        extend(database, 5)
        disk.rocks.faults.fail_sync = True
        with pytest.raises(StorageFailed):
            database.log.sync_entries()
        disk.mend()
        with pytest.raises(StorageFailed):
            database.log.sync_entries()
        assert database.hit
        disk.lose_power(Random(seed))
        found.add(opened(disk).log.last_index())
    assert found == {0, 5}


def test_full_disk_stops_everything_and_loses_nothing(disk: MemoryDisk) -> None:
    """The write that did not fit is not there, the ones before are."""
    database = opened(disk)
    extend(database, 5)
    disk.rocks.faults.full = True
    with pytest.raises(StorageFailed):
        extend(database, 6)
    disk.mend()
    assert opened(disk).log.last_index() == 5


@pytest.mark.parametrize("seed", range(20))
def test_a_flipped_bit_is_noticed_at_the_next_start(disk: MemoryDisk, seed: int) -> None:
    """Wherever it is in the log, or when the tail marker cannot be read."""
    database = opened(disk)
    extend(database, 20)
    database.close()
    if seed % 4:
        assert disk.rot_log(Random(seed))
    else:
        disk.rot_tail_marker()
    with pytest.raises(DataDirectoryRefused):
        opened(disk)


def test_a_lost_disk_is_another_incarnation(disk: MemoryDisk) -> None:
    """Nothing of what was there is left."""
    database = opened(disk)
    extend(database, 5)
    database.close()
    disk.wipe()
    again = disk.open("test", "n1", NodeId(6))
    assert (again.identity.node_id, again.log.last_index(), again.created) == (6, 0, True)
