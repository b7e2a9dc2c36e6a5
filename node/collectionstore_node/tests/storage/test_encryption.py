"""An encrypted data directory: nothing of what it holds is on the disk, and it opens with its key only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from collectionstore_node.errors import DataDirectoryRefused, StorageFailed
from collectionstore_node.raft.messages import Index
from collectionstore_node.storage import Database, resealing
from collectionstore_node.storage.encryption.sources import DirectoryOfKeys, KeySource, Wrapped
from collectionstore_node.storage.reserve import Reserve
from collectionstore_node.storage.rocksdb.rocks import LOG_FAMILY
from collectionstore_node.tests.storage.entries import apply, contents, entry, extend, open_database

SECRET = b"a secret of nobody's business"
RECORDS: dict[bytes, bytes | None] = {b"\x03key %03d" % number: SECRET * (1 + number % 9) for number in range(300)}


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A directory with one key."""
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "2026-01").write_text(os.urandom(32).hex() + "\n")
    return folder


@pytest.fixture
def source(keys: Path) -> KeySource:
    """The same as a source."""
    return DirectoryOfKeys(keys)


def fill(database: Database) -> None:
    """Store RECORDS, and a log whose last ten entries hold SECRET."""
    extend(database, 20)
    log = database.log
    previous, made = log.chain(log.last_index()), []
    for index in range(21, 31):
        made.append(entry(index, previous, data=SECRET))
        previous = made[-1].chain
    log.append(made, None)
    apply(database, 30, RECORDS)
    log.sync()


def on_disk(directory: Path) -> bytes:
    """Return all bytes of all files."""
    return b"".join(path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file())


def test_nothing_of_the_values_is_on_the_disk(tmp_path: Path, source: KeySource) -> None:
    """Neither in the WAL nor in table files, which hold it where nothing is encrypted."""
    for name, given in (("plain", None), ("sealed", source)):
        database = open_database(tmp_path / name, source=given)
        fill(database)
        assert (SECRET in on_disk(tmp_path / name)) is (given is None)
        database.close()
        assert (SECRET in on_disk(tmp_path / name)) is (given is None)


def test_it_reads_as_any_other(tmp_path: Path, source: KeySource) -> None:
    """By every way to read, before and after it was closed."""
    database = open_database(tmp_path / "data", source=source)
    fill(database)
    for _ in range(2):
        state = database.state
        assert contents(database) == RECORDS
        assert state.get(b"\x03key 007") == RECORDS[b"\x03key 007"]
        assert state.get_many([b"\x03key 001", b"none"]) == [RECORDS[b"\x03key 001"], None]
        assert dict(state.reader.scan(b"\x03key 010", b"\x03key 020")) == {
            key: value for key, value in RECORDS.items() if b"\x03key 010" <= key < b"\x03key 020"
        }
        assert dict(state.reader.pick([b"\x03key 299", b"\x03none"])) == {b"\x03key 299": RECORDS[b"\x03key 299"]}
        found = database.log.entries(Index(1), Index(31), 1 << 20)
        assert [one.data for one in found][20:] == [SECRET] * 10
        assert state.applied.index == 30
        database.close()
        database = open_database(tmp_path / "data", source=source)
    database.close()


def test_a_snapshot_moves_between_members_with_other_keys(tmp_path: Path, source: KeySource) -> None:
    """What is sent is neither's: each seals it anew; the file on the disk is sealed as well."""
    sender = open_database(tmp_path / "sender", source=source)
    fill(sender)
    snapshot = sender.export_snapshot(sender.spool)
    assert SECRET not in snapshot.path.read_bytes()
    receiver = open_database(tmp_path / "receiver", source=source)
    arrived = receiver.spool / "inbound-1"
    with sender.open_file(snapshot.path, "rb") as read:
        sent = read.read(1 << 24)
    assert SECRET in sent
    assert len(sent) == snapshot.size_bytes
    arrived.touch()
    for offset in (0, 1_000, 2_017):
        end = {0: 1_000, 1_000: 2_017, 2_017: len(sent)}[offset]
        with receiver.open_file(arrived, "r+b") as written:
            written.seek(offset)
            assert written.write(sent[offset:end]) == end - offset
    assert SECRET not in arrived.read_bytes()
    receiver.install_snapshot(arrived)
    assert contents(receiver) == RECORDS
    assert SECRET not in on_disk(tmp_path / "receiver")
    sender.close()
    receiver.close()


def test_without_its_key_it_is_refused(tmp_path: Path, keys: Path, source: KeySource) -> None:
    """With none, another one, and none of that name; nothing is changed by the attempts."""
    directory = tmp_path / "data"
    database = open_database(directory, source=source)
    fill(database)
    database.close()
    before = (directory / "KEYS").read_bytes()
    with pytest.raises(DataDirectoryRefused, match=r"is encrypted\. Give the node the keys"):
        open_database(directory)
    key = (keys / "2026-01").read_text()
    (keys / "2026-01").write_text("ab" * 32)
    with pytest.raises(DataDirectoryRefused, match=r"The key 2026-01 .* is another one"):
        open_database(directory, source=source)
    (keys / "2026-01").unlink()
    with pytest.raises(DataDirectoryRefused, match="The encryption key 2026-01, which this data directory needs"):
        open_database(directory, source=source)
    (keys / "2026-02").write_text("too short")
    with pytest.raises(DataDirectoryRefused, match="2026-01"):
        open_database(directory, source=source)
    assert (directory / "KEYS").read_bytes() == before
    (keys / "2026-02").unlink()
    (keys / "2026-01").write_text(key)
    database = open_database(directory, source=source)
    assert contents(database) == RECORDS
    database.close()


@pytest.mark.parametrize("content", [b"", b"x" * 31, b"g" * 64, b"ab" * 33])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """With its size, and how to make one; never with what it holds."""
    folder = tmp_path / "keys"
    folder.mkdir()
    (folder / "k").write_bytes(content)
    with pytest.raises(DataDirectoryRefused, match=f"holds {len(content)} bytes, which is no encryption key") as found:
        open_database(tmp_path / "data", source=DirectoryOfKeys(folder))
    assert "openssl rand -hex 32" in str(found.value)
    assert not content or content.decode() not in str(found.value)


def test_a_directory_is_encrypted_when_it_is_opened(tmp_path: Path, source: KeySource) -> None:
    """All that was plain is sealed before it serves, in the log as well."""
    directory = tmp_path / "data"
    database = open_database(directory)
    fill(database)
    database.close()
    assert SECRET in on_disk(directory)
    database = open_database(directory, source=source)
    assert SECRET not in on_disk(directory)
    assert contents(database) == RECORDS
    assert database.log.last_index() == 30
    database.close()


def test_a_directory_is_not_encrypted_into_a_full_disk(
    tmp_path: Path, source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sealed values do not compress. It is refused while there is a way back, and stays as it was."""
    directory = tmp_path / "data"
    database = open_database(directory)
    extend(database, 1)
    apply(database, 1, {b"\x03%d" % number: b"as before " * 1_000 for number in range(1_000)})
    database.close()
    size = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    monkeypatch.setattr(Reserve, "available_bytes", lambda _: 20 * size)
    with pytest.raises(DataDirectoryRefused, match="Nothing was changed: make the volume larger"):
        open_database(directory, source=source)
    assert not (directory / "KEYS").exists()
    database = open_database(directory)
    assert database.state.get(b"\x03999") == b"as before " * 1_000
    database.close()
    monkeypatch.undo()
    open_database(directory, source=source).close()
    assert b"as before" not in on_disk(directory)


def test_a_new_key_seals_everything_anew(tmp_path: Path, keys: Path, source: KeySource) -> None:
    """Then the old one is not needed any more, and what it could read is gone."""
    directory = tmp_path / "data"
    database = open_database(directory, source=source)
    fill(database)
    database.close()
    (keys / "2026-02").write_bytes(os.urandom(32))
    database = open_database(directory, source=source)
    assert contents(database) == RECORDS
    families = (database.state.family, database.rocks.family(LOG_FAMILY))
    assert [list(one.stale_values()) for one in families] == [[], []]
    database.close()
    (keys / "2026-01").unlink()
    database = open_database(directory, source=source)
    assert contents(database) == RECORDS
    assert [one.data for one in database.log.entries(Index(21), Index(31), 1 << 20)] == [SECRET] * 10
    database.close()


def test_a_new_key_waits_for_room(
    tmp_path: Path, keys: Path, source: KeySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member that could not start any more would be worse; what it writes is under the new key already."""
    directory = tmp_path / "data"
    database = open_database(directory, source=source)
    fill(database)
    database.close()
    (keys / "2026-02").write_bytes(os.urandom(32))
    monkeypatch.setattr(Reserve, "available_bytes", lambda _: 1_000)
    for _ in range(2):
        with capture_logs() as logs:
            database = open_database(directory, source=source)
        assert [line["event"] for line in logs] == ["storage.not_resealed"]
        assert contents(database) == RECORDS
        assert len(list(database.state.family.stale_values())) == len(RECORDS) + 1  # and the applied position
        database.close()
    (keys / "2026-01").unlink()  # both data keys are wrapped by the new one
    monkeypatch.undo()
    database = open_database(directory, source=source)
    assert contents(database) == RECORDS
    assert not list(database.state.family.stale_values())
    database.close()


class Crash(Exception):
    """The process ends here."""


@pytest.mark.parametrize("after", [1, 2])
def test_a_crash_while_values_are_sealed_anew_is_made_good(
    tmp_path: Path, source: KeySource, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Before the state, and before the log; the next start begins again."""
    directory = tmp_path / "data"
    database = open_database(directory)
    fill(database)
    database.close()
    steps = 0
    real = resealing._reseal

    def crash(*given: object) -> int:
        nonlocal steps
        steps += 1
        if steps == after:
            raise Crash
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(resealing, "FLUSH_BYTES", 4_096)
    monkeypatch.setattr(resealing, "_reseal", crash)
    with pytest.raises(Crash):
        open_database(directory, source=source)
    monkeypatch.undo()
    database = open_database(directory, source=source)
    assert contents(database) == RECORDS
    assert SECRET not in on_disk(directory)
    database.close()


def test_a_value_that_was_moved_does_not_open(tmp_path: Path, source: KeySource) -> None:
    """It is bound to its key: the node stops, as for any other damage."""
    database = open_database(tmp_path / "data", source=source)
    fill(database)
    family = database.state.family
    stored = dict(family._scan_stored(b"", None))
    batch = database.rocks.batch(family)
    batch[b"\x03key 001"] = stored[b"\x03key 002"]
    database.rocks.write(batch)
    with pytest.raises(StorageFailed, match="not what was written, or not where"):
        database.state.get(b"\x03key 001")
    assert database.failstop.failed


class Service:
    """A source that keeps what it was asked, and knows its keys itself."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def current(self) -> None:
        return None

    def wrap(self, key: bytes) -> Wrapped:
        self.asked.append("wrap")
        return Wrapped("", key[::-1])

    def unwrap(self, wrapped: Wrapped) -> bytes:
        self.asked.append("unwrap")
        return wrapped.data[::-1]


def test_a_service_is_asked_once_at_each_start(tmp_path: Path) -> None:
    """It wraps the first data key, and unwraps it from then on."""
    service = Service()
    for _ in range(3):
        database = open_database(tmp_path / "data", source=service)
        database.close()
    assert service.asked == ["wrap", "unwrap", "unwrap"]
