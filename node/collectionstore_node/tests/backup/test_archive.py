"""The archived log, and restores to a point in it: exactly the state that the members had there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.backup.archive import Patience, archive_end, archive_log
from collectionstore_node.backup.archive_lag import Lag
from collectionstore_node.backup.cli import main
from collectionstore_node.backup.errors import Corrupt, CredentialsRefused, ExitCode, NotFound, Refused, Unreachable
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.sealing import Sealer
from collectionstore_node.backup.segments import decode_segment, encode_segment, folder
from collectionstore_node.backup.selection import Member
from collectionstore_node.backup.source import Access, LogPage, Source
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.keys import MEMBERSHIP_KEY
from collectionstore_node.storage import Database
from collectionstore_node.tests.backup.conftest import KEY
from collectionstore_node.tests.backup.sample import FakeCluster, FakeMember, SampleState, extend

Make = Callable[..., Manifest]


def archive(repository: Repository, members: list[FakeMember], key: bytes | None = None) -> Lag:
    with FakeCluster(members) as cluster:
        source = Source([cluster.members[0].address], Access())
        return archive_log(source, repository, key=key, once=True, interval_s=1, report=lambda _lag: None)


def member(state: SampleState, log: list, **fields: object) -> FakeMember:  # type: ignore[type-arg]
    return FakeMember("n0", state, leader=True, log=log, **fields)  # type: ignore[arg-type]


def restore(root: str, target: Path, *arguments: str, backup: str = "latest") -> Result:
    where = ("--repository", root, "--data-dir", str(target), "--cluster-id", "new", "--name", "new-0", "-o", "json")
    addresses = ("--peer-address", "127.0.0.1:1", "--client-address", "http://127.0.0.1:2")
    return CliRunner().invoke(main, ["restore", backup, "--quiet", *where, *addresses, *arguments])


def contents(target: Path) -> dict[bytes, bytes]:
    database = Database.open(target, cluster_id="new", name="new-0")
    found = dict(database.state.scan(b"", b"\xff"))
    database.close()
    found.pop(MEMBERSHIP_KEY)
    return found


def expected(state: SampleState) -> dict[bytes, bytes]:
    return {key: value for key, value in state.records if key != MEMBERSHIP_KEY}


@pytest.mark.parametrize("key", [None, KEY], ids=["plain", "encrypted"])
def test_the_log_is_archived_behind_the_backup_and_goes_on(
    repository: Repository, make: Make, state: SampleState, key: bytes | None
) -> None:
    """Init: a backup. Step: archive 20 entries; then 10 more, by another run. Check: all are there, once, in order."""
    made = make(repository, key)
    log, _ = extend(state, 30)

    assert archive(repository, [member(state, log[:20])], key) == Lag(520, 520)
    assert archive(repository, [member(state, log)], key) == Lag(530, 530)

    found = []
    for one in sorted(repository.objects(folder("old"))):
        found += decode_segment(one.name, repository.get(one.name, 1 << 20), key)[1]
    assert found == log
    assert archive_end(repository, "old", key) == (530, log[-1].chain)
    assert made.applied_index == 500


class Stop(Exception):
    """Ends an archiver that would run for ever."""


def test_the_archive_follows_the_log_and_reports_its_lag(directory: Repository, make: Make, state: SampleState) -> None:
    """Step: two more entries appear whenever the archiver has reported. Check: it stores them, and how far it is."""
    make(directory)
    log, _ = extend(state, 6)
    source = member(state, log[:2])
    seen: list[Lag] = []

    def report(lag: Lag) -> None:
        seen.append(lag)
        source.log = log[: lag.archived - 500 + 2]
        if lag.archived == 506:
            raise Stop

    with FakeCluster([source]) as cluster, pytest.raises(Stop):
        archive_log(
            Source([cluster.members[0].address], Access()),
            directory,
            key=None,
            once=False,
            interval_s=0.01,
            report=report,
        )

    assert seen == sorted(seen)
    assert all(0 <= lag.applied - lag.archived <= 2 for lag in seen)
    assert archive_end(directory, "old", None) == (506, log[-1].chain)


def test_a_follower_that_cannot_confirm_is_left_for_another_member(
    directory: Repository, make: Make, state: SampleState
) -> None:
    """Init: a follower serves the log. Step: it is cut off, and answers 503, while the cluster goes on.

    Check: the archive goes on from the other member, and its lag is that to the cluster.
    """
    make(directory)
    log, _ = extend(state, 9)
    leader, follower = FakeMember("n0", state, leader=True, log=log[:4]), FakeMember("n1", state, log=log[:4])
    seen: list[Lag] = []

    def report(lag: Lag) -> None:
        seen.append(lag)
        if lag.archived == 504:
            follower.fault, leader.log = (503, "unavailable"), log
        if lag.archived == 509:
            raise Stop

    with FakeCluster([leader, follower]) as cluster, pytest.raises(Stop):
        archive_log(
            Source([cluster.members[0].address], Access()),
            directory,
            key=None,
            once=False,
            interval_s=0.01,
            report=report,
        )

    assert Lag(504, 504) in seen
    assert seen[-1] == Lag(509, 509)


def test_an_outage_is_waited_for_and_what_was_read_is_stored_first(
    directory: Repository, make: Make, state: SampleState
) -> None:
    """Init: entries are read, and not stored yet. Step: all members fail for three attempts, then come back.

    Check: the entries are stored before the first pause, the pauses grow, and the archive goes on.
    """
    make(directory)
    log, _ = extend(state, 9)
    source = FakeMember("n0", state, leader=True, log=log[:4])
    seen: list[Lag] = []
    ends: list[int] = []
    pauses: list[float] = []
    said: list[str] = []

    class Failing(Source):
        def log(self, member: Member, after: int, timeout_s: float) -> LogPage:
            if after == 504 and len(pauses) < 3:
                source.fault = (503, "unavailable")
            return super().log(member, after, timeout_s)

    def pause(seconds: float) -> None:
        ends.append(archive_end(directory, "old", None)[0])
        pauses.append(seconds)
        if len(pauses) == 3:
            source.fault, source.log = None, log

    def report(lag: Lag) -> None:
        seen.append(lag)
        if lag.archived == 509:
            raise Stop

    with FakeCluster([source]) as cluster, pytest.raises(Stop):
        archive_log(
            Failing([cluster.members[0].address], Access()),
            directory,
            key=None,
            once=False,
            interval_s=1.0,
            report=report,
            patience=Patience(60, said.append, pause),
        )

    assert pauses == [0.5, 1.0, 2.0]
    assert ends == [504, 504, 504]
    assert all("no member serves its log" in text and "trying again in" in text for text in said)
    assert seen[-1] == Lag(509, 509)


def test_an_outage_is_not_waited_for_beyond_its_bound(directory: Repository, make: Make, state: SampleState) -> None:
    make(directory)
    pauses: list[float] = []
    with FakeCluster([FakeMember("n0", state, leader=True, fault=(503, "unavailable"))]) as cluster:
        source = Source([cluster.members[0].address], Access())
        patience = Patience(60, lambda _text: None, pauses.append)
        run = partial(archive_log, source, directory, key=None, once=True, interval_s=1, report=lambda _lag: None)
        with pytest.raises(Unreachable, match="no member serves its log"):
            run(patience=patience)
    assert (sum(pauses), max(pauses)) == (60, 10)


def test_once_ends_at_what_there_was_when_it_began(directory: Repository, make: Make, state: SampleState) -> None:
    """Init: a log of 15 entries, three pages. Step: with every page it grows by another one.

    Check: the run ends, behind what there was at first, and says how much has come since.
    """
    make(directory)
    log, _ = extend(state, 60)

    class Growing(FakeMember):
        @property
        def log(self) -> list:  # type: ignore[type-arg]
            pages = sum("/backup/log" in path for path in self.asked)
            return log[: 15 + 7 * max(0, pages - 1)]

        @log.setter
        def log(self, _log: object) -> None: ...

    done = archive(directory, [Growing("n0", state, leader=True)])

    assert done == Lag(521, 529)
    assert archive_end(directory, "old", None)[0] == 521


def test_a_kept_member_of_another_cluster_is_refused_in_the_middle_of_the_run(
    directory: Repository, make: Make, state: SampleState
) -> None:
    """Init: entries are read, and not stored yet. Step: the cluster is recovered: new ID, same history, more entries.

    Check: refused, naming both; what was read before is stored, and nothing of the new cluster.
    """
    make(directory)
    log, _ = extend(state, 9)
    source = member(state, log[:4])

    class Recovering(Source):
        def log(self, member: Member, after: int, timeout_s: float) -> LogPage:
            if after == 504:
                cluster.cluster_id, source.log = "new", log
            return super().log(member, after, timeout_s)

    with FakeCluster([source]) as cluster, pytest.raises(Refused, match=r"n0 has the cluster ID 'new'.* is of 'old'"):
        archive_log(
            Recovering([cluster.members[0].address], Access()),
            directory,
            key=None,
            once=False,
            interval_s=30.0,
            report=lambda _lag: None,
        )

    assert archive_end(directory, "old", None) == (504, log[3].chain)
    assert list(directory.objects(folder("new"))) == []


@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_cluster_of_another_id_than_the_expected_is_refused(
    directory: Repository, make: Make, state: SampleState, by: str
) -> None:
    make(directory)
    log, _ = extend(state, 3)
    given = ("--cluster-id", "other") if by == "option" else ()
    environment = {"COLLECTIONSTORE_BACKUP_CLUSTER_ID": "other"} if by == "environment" else {}
    with FakeCluster([member(state, log)]) as cluster:
        arguments = ("--endpoint", cluster.members[0].address, "--repository", directory.url, "--once", *given)
        done = CliRunner().invoke(main, ["archive", *arguments], env=environment)
    assert done.exit_code == ExitCode.REFUSED, done.output
    assert "what answers has the cluster ID 'old', and the archive is of 'other'" in done.output
    assert list(directory.objects(folder("old"))) == []


def test_an_archive_begins_at_a_backup(directory: Repository, state: SampleState) -> None:
    with pytest.raises(NotFound, match="the archive begins at one"):
        archive(directory, [member(state, [])])


def test_a_member_that_has_dropped_the_entries_is_passed_over(
    directory: Repository, make: Make, state: SampleState
) -> None:
    make(directory)
    log, _ = extend(state, 5)
    others = [member(state, log), FakeMember("n1", state, log=log, dropped_to=503)]
    assert archive(directory, others) == Lag(505, 505)
    with pytest.raises(NotFound, match="Make a backup; the archive goes on behind it"):
        archive(Repository(directory.url), [member(state, extend(state, 9)[0], dropped_to=508)])
    with pytest.raises(Unreachable, match="no member serves its log"):
        archive(directory, [member(state, log, fault=(503, "overloaded"))])


def test_a_newer_backup_closes_a_gap(directory: Repository, make: Make, state: SampleState, tmp_path: Path) -> None:
    """The archive goes on behind it; before it nothing is reached through the gap."""
    older = make(directory)
    log, states = extend(state, 20)
    archive(directory, [member(state, log[:3])])
    newer = make(directory, of=states[9])

    assert archive(directory, [member(state, log, dropped_to=510)]) == Lag(520, 520)

    done = restore(directory.url, tmp_path / "data", "--to", "end", backup=newer.id)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["state_digest"] == states[-1].header.digest.hex()
    assert contents(tmp_path / "data") == expected(states[-1])
    through = restore(directory.url, tmp_path / "other", "--to", "end", backup=older.id)
    assert (through.exit_code, "a gap behind index 503" in through.output) == (ExitCode.NOT_FOUND, True)


def test_a_newer_backup_leaves_no_gap_that_can_be_closed(directory: Repository, make: Make, state: SampleState) -> None:
    """The archive goes on where it ended, also if a backup is ahead of it."""
    make(directory)
    log, states = extend(state, 20)
    archive(directory, [member(state, log[:3])])
    make(directory, of=states[9])

    assert archive_end(directory, "old", None) == (503, log[2].chain)
    archive(directory, [member(state, log)])
    names = sorted(one.name for one in directory.objects(folder("old")))
    assert [decode_segment(name, directory.get(name, 1 << 20), None)[0].first for name in names] == [501, 504]


def test_entries_of_another_history_are_not_archived(directory: Repository, make: Make, state: SampleState) -> None:
    make(directory)
    other = SampleState(state.view, msgspec.structs.replace(state.metadata, chain=b"\x06" * 32))
    log, _ = extend(other, 3)
    with pytest.raises(Corrupt, match="entry 501 does not continue the history up to 500"):
        archive(directory, [member(state, log)])
    assert list(directory.objects(folder("old"))) == []


@pytest.mark.parametrize("reached", [0, 1, 4, 5, 9])
def test_a_restore_to_a_revision_is_the_state_that_the_members_had(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path, reached: int
) -> None:
    """Byte for byte, digest included; also through a change of the membership, the middle entry."""
    make(directory)
    log, states = extend(state, 10)
    archive(directory, [member(state, log)])
    revision = states[reached].header.revision

    done = restore(directory.url, tmp_path / "data", "--to", f"revision:{revision}")

    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["revision"] == revision
    # An entry that changes the membership has no revision of its own: the first of both is the one that is reached.
    at = next(number for number, one in enumerate(states) if one.header.revision == revision)
    assert found["applied_index"] == states[at].metadata.index
    assert found["state_digest"] == states[at].header.digest.hex()
    assert contents(tmp_path / "data") == expected(states[at])


def test_a_revision_inside_an_entry_is_not_passed(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path
) -> None:
    """The commands of one entry were committed together, and stay so."""
    make(directory)
    log, states = extend(state, 4)
    archive(directory, [member(state, log)])

    done = restore(directory.url, tmp_path / "data", "--to", f"revision:{states[0].header.revision + 1}")

    assert json.loads(done.stdout)["revision"] == states[0].header.revision


def test_the_end_of_the_archive_is_reached_and_not_more(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path
) -> None:
    make(directory)
    log, states = extend(state, 12)
    archive(directory, [member(state, log)])

    assert json.loads(restore(directory.url, tmp_path / "data", "--to", "end").stdout)["applied_index"] == 512
    assert contents(tmp_path / "data") == expected(states[-1])
    beyond = restore(directory.url, tmp_path / "other", "--to", f"revision:{states[-1].header.revision + 1}")
    assert (beyond.exit_code, "the archive ends at revision" in beyond.output) == (ExitCode.NOT_FOUND, True)
    with pytest.raises(Exception, match="not empty, but has no IDENTITY"):
        contents(tmp_path / "other")


def test_a_restore_to_a_time_takes_what_was_archived_by_then(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path
) -> None:
    """Init: a backup, and two segments that were read at known seconds. Check: the state at each, and between."""
    made = make(directory)
    log, states = extend(state, 8)
    second = 4_000_000_000
    for first, last, at in ((0, 4, second), (4, 8, second + 60)):
        data = encode_segment("old", log[first:last], at * 1000, None)
        directory.put(f"{folder('old')}{501 + first:020}-{500 + last:020}.segment", data)

    for time, entries in (("2096-10-02T07:06:39Z", 0), ("2096-10-02T07:06:40Z", 4), ("2096-10-02T07:07:40Z", 8)):
        target = tmp_path / time
        done = restore(directory.url, target, "--to", time)
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["applied_index"] == 500 + entries
        assert contents(target) == expected(states[entries - 1] if entries else state)
    early = restore(directory.url, tmp_path / "early", "--to", "2001-01-01T00:00:00Z")
    assert (early.exit_code, made.finished_at in early.output) == (ExitCode.NOT_FOUND, True)


def test_a_later_backup_is_not_restored_for_an_earlier_point(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path
) -> None:
    """A named backup that is newer than the point of --to would silently give a later state."""
    made = make(directory)
    for goal, why in (
        (f"revision:{made.revision - 1}", f"has revision {made.revision}, after"),
        ("2001-01-01T00:00:00Z", f"was finished at {made.finished_at}, after 2001-01-01T00:00:00Z"),
    ):
        for wanted in (made.id, f"revision:{made.revision}"):
            done = restore(directory.url, tmp_path / "data", "--to", goal, backup=wanted)
            assert (done.exit_code, why in done.output) == (ExitCode.REFUSED, True), done.output
    assert not (tmp_path / "data").exists()


def test_a_time_behind_the_end_of_the_archive_is_not_reached(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path
) -> None:
    """What was written until then may be missing; the message has the last time that there is."""
    made = make(directory)
    log, _ = extend(state, 4)
    bare = restore(directory.url, tmp_path / "bare", "--to", "2996-01-01T00:00:00Z")
    assert (bare.exit_code, f"ends at {made.finished_at}" in bare.output) == (ExitCode.NOT_FOUND, True)
    data = encode_segment("old", log, 4_000_000_000_500, None)
    directory.put(f"{folder('old')}{501:020}-{504:020}.segment", data)

    beyond = restore(directory.url, tmp_path / "beyond", "--to", "2096-10-02T07:06:41Z")
    assert (beyond.exit_code, "ends at 2096-10-02T07:06:40Z" in beyond.output) == (ExitCode.NOT_FOUND, True)
    with pytest.raises(Exception, match="not empty, but has no IDENTITY"):
        contents(tmp_path / "beyond")
    assert restore(directory.url, tmp_path / "data", "--to", "2096-10-02T07:06:40Z").exit_code == 0


@pytest.mark.parametrize("goal", ["", "revision:", "revision:-1", "yesterday", "2026-01-02", "latest"])
def test_a_point_that_has_no_meaning_is_refused(directory: Repository, make: Make, tmp_path: Path, goal: str) -> None:
    make(directory)
    done = restore(directory.url, tmp_path / "data", "--to", goal)
    assert (done.exit_code, "allowed: end, revision:N" in done.output) == (ExitCode.USAGE, True)


def test_a_gap_in_the_archive_is_named(directory: Repository, make: Make, state: SampleState, tmp_path: Path) -> None:
    make(directory)
    log, states = extend(state, 30)
    for end in (10, 20, 30):
        archive(directory, [member(state, log[:end])])
    directory.delete(sorted(one.name for one in directory.objects(folder("old")))[1])

    done = restore(directory.url, tmp_path / "data", "--to", f"revision:{states[-1].header.revision}")

    assert (done.exit_code, "a gap behind index 510" in done.output) == (ExitCode.NOT_FOUND, True)


_LOG: list = []  # type: ignore[type-arg]


@pytest.fixture(scope="module")
def segment(state: SampleState) -> bytes:
    log, _ = extend(state, 3)
    _LOG[:] = log
    return encode_segment("old", log, 1, Sealer(KEY, b"s" * 32))


@given(st.data())
def test_no_changed_byte_of_a_segment_is_read(segment: bytes, data: st.DataObject) -> None:
    changed = bytearray(segment)
    changed[data.draw(st.integers(0, len(segment) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(Corrupt):
        decode_segment("s", bytes(changed), KEY)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"CSLOG\r\n" + (70_000).to_bytes(4, "big") + b'{"a":"' + b"x" * 69_992 + b'"}', "a header of 70000 bytes"),
        (b"CSLOG\r\n\0\0", "ends before its header"),
    ],
)
def test_a_header_is_bounded(body: bytes, message: str) -> None:
    """Also with a hash that fits: one who can write to the repository can make one."""
    with pytest.raises(Corrupt, match=message):
        decode_segment("s", body + sha256(body).digest(), None)


def test_a_segment_needs_its_key(segment: bytes) -> None:
    assert decode_segment("s", segment, KEY)[1] == _LOG
    for key in (None, os.urandom(32)):
        with pytest.raises(CredentialsRefused):
            decode_segment("s", segment, key)


def test_the_program_archives_and_reports_its_lag(directory: Repository, make: Make, state: SampleState) -> None:
    make(directory)
    log, _ = extend(state, 9)
    with FakeCluster([member(state, log)]) as cluster:
        arguments = ("--endpoint", cluster.members[0].address, "--repository", directory.url, "--once", "-o", "json")
        done = CliRunner().invoke(main, ["archive", *arguments])
    told = json.loads(done.stdout)
    assert told.pop("lag_seconds") >= 0
    assert told == {
        "archived_index": 509,
        "applied_index": 509,
        "lag_entries": 0,
        "lag_revisions": 0,
        "lag_bytes": 0,
    }


def test_a_restored_revision_is_the_header_s(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path
) -> None:
    """With a bump as well: the replay comes first, then the bump."""
    make(directory)
    log, states = extend(state, 6)
    archive(directory, [member(state, log)])
    restore(directory.url, tmp_path / "data", "--to", "end", "--bump-revision", "1000")
    database = Database.open(tmp_path / "data", cluster_id="new", name="new-0")
    assert read_header(database.state).revision == states[-1].header.revision + 1000
    database.close()
