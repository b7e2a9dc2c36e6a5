"""The archived log in a repository: which segments there are, where it ends, and which may go.

Segments are named by the indexes of their entries, so a listing in the order of names begins anywhere. A cluster that
writes all the time has tens of thousands of them for each day that is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Final, NamedTuple

from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.segments import ROOT, folder, parse_name

DELETED_AT_ONCE: Final = 16
_BATCH: Final = 1_000
"""Names in memory at a time."""


class StoredSegment(NamedTuple):
    """A segment in a listing: the indexes of its first and last entry."""

    name: str
    first: int
    last: int


def archived_clusters(repository: Repository) -> list[str]:
    """Return the IDs of the clusters of which there are segments."""
    return repository.folders(ROOT)


def segments(repository: Repository, cluster_id: str, first: int = 0) -> Iterator[StoredSegment]:
    """Yield the segments of a cluster that begin at index `first` or behind it; in a directory in any order."""
    after = f"{folder(cluster_id)}{first:020}" if first else ""
    for one in repository.objects(folder(cluster_id), after=after):
        bounds = parse_name(one.name)
        if bounds is not None:
            yield StoredSegment(one.name, *bounds)


def last_segment(repository: Repository, cluster_id: str, indexes: Sequence[int]) -> StoredSegment | None:
    """Return the segment that ends last; None without one. `indexes` are those of the backups of the cluster.

    Listed is what begins behind the newest backup; behind the one before only if that is nothing, and so on: a listing
    of an archive that follows its backups has the segments of one interval between two of them.
    """
    for index in (*sorted(set(indexes), reverse=True), 0):
        found = max(segments(repository, cluster_id, index), key=lambda one: one.last, default=None)
        if found is not None:
            return found
    return None


def unneeded(repository: Repository, cluster_id: str, index: int) -> Iterator[StoredSegment]:
    """Yield the segments whose entries are all in a state of `index`: a replay that begins there skips them.

    Never the one that ends last of all: an archive that starts again goes on where it ends. Without it, it would begin
    at the newest backup, and leave a gap behind the ones before.
    """
    end: StoredSegment | None = None
    for one in segments(repository, cluster_id):
        before, end = end, one if end is None or one.last >= end.last else end
        passed = before if end is one else one
        if passed is not None and passed.last <= index:
            yield passed
        if repository.ordered and one.first > index:
            return


def delete_segments(repository: Repository, several: Iterator[StoredSegment]) -> int:
    """Delete segments and return how many; after an interruption the rest is found again."""
    count = 0
    with ThreadPoolExecutor(DELETED_AT_ONCE, thread_name_prefix="segment") as pool:
        while some := list(islice(several, _BATCH)):
            count += sum(1 for _ in pool.map(lambda one: repository.delete(one.name), some))
    return count
