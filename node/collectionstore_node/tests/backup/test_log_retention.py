"""The archived log goes with the backups that need it, never before; and an archiver starts without listing it all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.backup.archive import archive_end
from collectionstore_node.backup.cli import main
from collectionstore_node.backup.create import Run, create_backup
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.pruning import Rules, prune_repository
from collectionstore_node.backup.repository import Repository, Stored
from collectionstore_node.backup.retention import Found, log_needs
from collectionstore_node.backup.segments import encode_segment, folder, segment_name
from collectionstore_node.backup.source import Access, Source
from collectionstore_node.backup.stored import delete_backup, manifest_name
from collectionstore_node.backup.stored_log import archived_clusters, last_segment, segments, unneeded
from collectionstore_node.raft.messages import Entry
from collectionstore_node.tests.backup.conftest import QUIET
from collectionstore_node.tests.backup.sample import FakeCluster, FakeMember, SampleState, extend

Make = Callable[..., Manifest]
DAY = 86_400.0
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=3)
"""When nothing that exists can be a run."""
KEEP_ONE = Rules(keep_last=1, keep_within_s=0, unfinished_after_s=DAY)


@pytest.fixture
def make(state: SampleState) -> Make:
    """Makes backups whose IDs are in the order in which they were made, also within a second."""
    numbers = count()

    def made(repository: Repository, of: SampleState = state) -> Manifest:
        with FakeCluster([FakeMember("n0", of, leader=True)]) as cluster:
            return create_backup(
                Source([cluster.members[0].address], Access()),
                repository,
                key=None,
                expected_cluster=None,
                stale=False,
                progress=QUIET,
                run=Run("20000101T000000Z", f"{next(numbers):08x}"),
            )

    return made


def store(repository: Repository, log: list[Entry], size: int = 5, cluster: str = "old") -> None:
    for at in range(0, len(log), size):
        some = log[at : at + size]
        name = folder(cluster) + segment_name(some[0].index, some[-1].index)
        repository.put(name, encode_segment(cluster, some, 1, None))


def bounds(repository: Repository, cluster: str = "old") -> list[tuple[int, int]]:
    return sorted((one.first, one.last) for one in segments(repository, cluster))


def test_segments_go_that_no_kept_backup_needs(repository: Repository, make: Make, state: SampleState) -> None:
    """Init: backups at 500, 512 and 520, segments of 5 entries from 501. Step: keep two. Check: 511 stays for 512."""
    log, states = extend(state, 30)
    for of in (state, states[11], states[19]):
        make(repository, of=of)
    store(repository, log)

    dry = prune_repository(repository, KEEP_ONE._replace(keep_last=2), LATER, dry_run=True)
    assert (dry.segments, len(bounds(repository))) == (2, 6)
    pruned = prune_repository(repository, KEEP_ONE._replace(keep_last=2), LATER, dry_run=False)

    assert (pruned.segments, pruned.log_kept) == (2, "")
    assert bounds(repository) == [(511, 515), (516, 520), (521, 525), (526, 530)]
    assert archive_end(repository, "old", None) == (530, log[-1].chain)
    again = prune_repository(repository, KEEP_ONE._replace(keep_last=2), LATER, dry_run=False)
    assert again.segments == 0


def test_an_archive_that_starts_again_goes_on_where_it_ended(
    repository: Repository, make: Make, state: SampleState
) -> None:
    """Init: an archive that stopped at 510, and a backup of 520. Step: prune. Check: nothing between is lost to it."""
    log, states = extend(state, 20)
    make(repository, of=states[-1])
    store(repository, log[:10])

    assert prune_repository(repository, KEEP_ONE, LATER, dry_run=False).segments == 1
    assert prune_repository(repository, KEEP_ONE, LATER, dry_run=False).segments == 0
    assert bounds(repository) == [(506, 510)]
    assert archive_end(repository, "old", None) == (510, log[9].chain)
    store(repository, log[10:])
    assert prune_repository(repository, KEEP_ONE, LATER, dry_run=False).segments == 2
    assert bounds(repository) == [(516, 520)]


def test_a_restore_of_the_oldest_backup_still_reaches_the_end(
    directory: Repository, make: Make, state: SampleState, tmp_path: Path
) -> None:
    log, states = extend(state, 30)
    make(directory, of=state)
    made = make(directory, of=states[11])
    store(directory, log)
    prune_repository(directory, KEEP_ONE, LATER, dry_run=False)

    where = ("--repository", directory.url, "--data-dir", str(tmp_path / "data"), "--cluster-id", "new", "--name", "n")
    addresses = ("--peer-address", "127.0.0.1:1", "--client-address", "http://127.0.0.1:2", "--to", "end")
    result = CliRunner().invoke(main, ["restore", made.id, "--quiet", *where, *addresses, "-o", "json"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["revision"] == states[-1].header.revision


def test_nothing_goes_while_a_backup_may_be_in_the_making(
    directory: Repository, make: Make, state: SampleState
) -> None:
    """A run without a manifest may be of a member that is behind, and of any cluster."""
    log, states = extend(state, 10)
    make(directory, of=states[-1])
    store(directory, log)
    begun = f"{NOW:%Y%m%dT%H%M%SZ}-0badcafe"
    directory.put(f"backups/{begun}/data/00000000.part", b"x")

    pruned = prune_repository(directory, KEEP_ONE, NOW, dry_run=False)
    assert pruned.segments == 0
    assert begun in pruned.log_kept
    assert len(bounds(directory)) == 2

    assert prune_repository(directory, KEEP_ONE, LATER, dry_run=False).segments == 1  # it was left over, and is gone


def test_nothing_goes_while_a_manifest_cannot_be_read(directory: Repository, make: Make, state: SampleState) -> None:
    log, states = extend(state, 10)
    damaged = make(directory, of=state)
    make(directory, of=states[-1])
    store(directory, log)
    directory.put(manifest_name(damaged.id), b"{}")

    pruned = prune_repository(directory, KEEP_ONE, LATER, dry_run=False)
    assert (pruned.segments, pruned.backups.damaged) == (0, [damaged.id])
    assert damaged.id in pruned.log_kept

    delete_backup(directory, damaged.id)
    assert prune_repository(directory, KEEP_ONE, LATER, dry_run=False).segments == 1


def test_a_damaged_backup_that_stays_keeps_its_log(directory: Repository, make: Make, state: SampleState) -> None:
    log, states = extend(state, 10)
    damaged = make(directory, of=state)
    make(directory, of=states[-1])
    store(directory, log)
    directory.delete(f"backups/{damaged.id}/data/00000000.part")

    pruned = prune_repository(directory, KEEP_ONE, LATER, dry_run=False)
    assert (pruned.segments, pruned.log_kept, pruned.backups.damaged) == (0, "", [damaged.id])
    assert len(bounds(directory)) == 2


def test_each_cluster_keeps_its_own_log(directory: Repository, make: Make, state: SampleState) -> None:
    """The log of a former cluster stays for its own backup; that of one without a backup stays as well."""
    log, states = extend(state, 10)
    make(directory, of=states[-1])
    store(directory, log)
    store(directory, log, cluster="gone")

    other = prune_repository(directory, KEEP_ONE._replace(source_cluster="another"), LATER, dry_run=False)
    assert (other.segments, len(bounds(directory))) == (0, 2)
    assert prune_repository(directory, KEEP_ONE, LATER, dry_run=False).segments == 1
    assert (bounds(directory), len(bounds(directory, "gone"))) == ([(506, 510)], 2)


def test_a_backup_that_appears_while_it_is_pruned_keeps_the_log(
    directory: Repository, make: Make, state: SampleState, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step: between the list and the deletion another run stores the state of a member that was behind."""
    log, states = extend(state, 10)
    make(directory, of=states[-1])
    store(directory, log)
    appeared: list[Manifest] = []

    def listed(repository: Repository) -> list[str]:
        appeared.append(make(directory, of=state))
        return archived_clusters(repository)

    monkeypatch.setattr("collectionstore_node.backup.pruning.archived_clusters", listed)

    pruned = prune_repository(directory, KEEP_ONE, LATER, dry_run=False)

    assert pruned.segments == 0
    assert appeared[0].id in pruned.log_kept
    assert len(bounds(directory)) == 2


def test_the_command_says_what_it_deleted_and_why_it_did_not(
    directory: Repository, make: Make, state: SampleState
) -> None:
    log, states = extend(state, 10)
    make(directory, of=states[-1])
    store(directory, log)
    begun = f"{NOW:%Y%m%dT%H%M%SZ}-0badcafe"
    directory.put(f"backups/{begun}/data/00000000.part", b"x")
    command = ["prune", "--repository", directory.url]

    kept = CliRunner().invoke(main, command)
    assert f"the log is kept: {begun}" in kept.output
    directory.delete(f"backups/{begun}/data/00000000.part")
    directory.tidy(f"backups/{begun}/")
    shown = CliRunner().invoke(main, [*command, "-o", "json", "--dry-run"])
    assert (json.loads(shown.stdout)["segments"], len(bounds(directory))) == (1, 2)
    assert "1 segments of the log deleted" in CliRunner().invoke(main, command).output
    assert bounds(directory) == [(506, 510)]


def test_files_of_interrupted_writes_go_when_no_run_can_be_behind_them(
    directory: Repository, make: Make, state: SampleState
) -> None:
    """A killed archiver leaves a file beside its place, which no listing shows."""
    log, _ = extend(state, 5)
    make(directory, of=state)
    store(directory, log)
    root = Path(directory.url.removeprefix("file://"))
    old, young = (root / folder("old") / f"{segment_name(506, 506 + n)}#1" for n in (1, 2))
    for path, age_s in ((old, 2 * DAY), (young, 60)):
        path.write_bytes(b"half")
        os.utime(path, (NOW.timestamp() - age_s,) * 2)

    prune_repository(directory, KEEP_ONE, NOW + timedelta(seconds=1), dry_run=False)

    assert (old.exists(), young.exists()) == (False, True)
    assert bounds(directory) == [(501, 505)]


def test_a_deleted_backup_leaves_no_folder_with_half_a_part(directory: Repository, make: Make) -> None:
    made = make(directory)
    place = Path(directory.url.removeprefix("file://")) / "backups" / made.id
    (place / "data" / "00000009.part#1").write_bytes(b"half")

    delete_backup(directory, made.id)

    assert not place.exists()


# The start of an archiver


class Counted(Repository):
    """Counts what listings yield."""

    listed = 0

    def objects(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        for one in super().objects(prefix, after=after):
            self.listed += 1
            yield one


def test_the_end_is_found_without_listing_the_log_before_the_newest_backup(tmp_path: Path, state: SampleState) -> None:
    repository = Counted(str(tmp_path / "repository"))
    log, _ = extend(state, 60)
    store(repository, log)

    found = last_segment(repository, "old", [500, 520, 550])

    assert found is not None
    assert (found.first, found.last) == (556, 560)
    assert repository.listed == 2  # 551 to 555, and the last one


@pytest.mark.parametrize("index", [553, 555, 560, 900], ids=["within", "at an end", "at the end", "beyond"])
def test_an_archive_that_is_behind_the_newest_backup_goes_on_where_it_ends(
    directory: Repository, state: SampleState, index: int
) -> None:
    """A jump to the backup would leave a gap that the members may still be able to fill."""
    log, _ = extend(state, 60)
    store(directory, log)

    found = last_segment(directory, "old", [520, index])

    assert found is not None
    assert found.last == 560


def test_the_end_of_nothing_is_none(directory: Repository) -> None:
    assert last_segment(directory, "old", [500]) is None


# Properties

_bounds = st.lists(st.integers(1, 200), min_size=1, max_size=30, unique=True).map(sorted)
_found = st.builds(
    lambda number, complete, readable, of, index, days: Found(
        f"x-{number:08x}",
        NOW - timedelta(days=days),
        complete,
        complete and readable,
        of if complete and readable else "",
        index,
    ),
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["shop", "bank"]),
    st.integers(1, 200),
    st.floats(0, 10),
)


@given(st.lists(_found, max_size=8, unique_by=lambda one: one.id), st.sets(st.integers(0, 7)), _bounds)
def test_no_entry_goes_that_a_backup_needs_that_stays(found: list[Found], picked: set[int], ends: list[int]) -> None:
    """Check: for every backup that stays, all entries behind it are in what is left, whatever the segments' bounds."""
    going = {found[one].id for one in picked if one < len(found) and found[one].complete}
    needs = log_needs(found, going, NOW, DAY)

    staying = [one for one in found if one.id not in going]
    if any(one.complete and not one.cluster_id for one in staying):
        assert needs.unknown
    if any(not one.complete and NOW - one.started < timedelta(seconds=DAY) for one in staying):
        assert needs.unknown
    assert not (needs.unknown and needs.floors)
    for cluster, floor in needs.floors.items():
        left: set[int] = set()
        begin = 1
        for end in ends:
            if end > floor:
                left |= set(range(begin, end + 1))
            begin = end + 1
        for one in staying:
            if one.cluster_id == cluster:
                assert set(range(one.applied_index + 1, ends[-1] + 1)) <= left


@given(st.lists(st.tuples(st.integers(1, 99), st.integers(0, 20)), max_size=20), st.integers(0, 120))
def test_an_ordered_listing_finds_the_same_as_a_whole_one(spans: list[tuple[int, int]], index: int) -> None:
    """Segments of two archivers overlap; those of one begin behind each other."""
    names = sorted({folder("c") + segment_name(first, first + more) for first, more in spans})

    class Listing:
        def __init__(self, *, ordered: bool) -> None:
            self.ordered = ordered

        def objects(self, _prefix: str, *, after: str = "") -> Iterator[Stored]:
            return (Stored(one, 1) for one in names if one > after)

    expected = list(unneeded(Listing(ordered=False), "c", index))  # type: ignore[arg-type]
    assert list(unneeded(Listing(ordered=True), "c", index)) == expected  # type: ignore[arg-type]
    assert all(one.last <= index for one in expected)
    found = list(segments(Listing(ordered=False), "c"))  # type: ignore[arg-type]
    kept = [one for one in found if one not in expected]
    assert len(kept) + len(expected) == len(found)
    if found:
        assert max(found, key=lambda one: one.last).last in {one.last for one in kept}
    assert len([one for one in kept if one.last <= index]) <= 1
