"""The backups in a repository: listed, read part by part, deleted.

backups/<id>/data/<number>.part    the parts, any time before
backups/<id>/manifest.json         written last, deleted first
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, NamedTuple

from collectionstore_node.backup.errors import Corrupt, NotFound
from collectionstore_node.backup.manifest import ID, MANIFEST_BYTES_MAX, Manifest, authenticate, decode_manifest
from collectionstore_node.backup.parts import PART_BYTES_MAX, STORED_OVERHEAD_MAX, load_part, part_name
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.retention import Found
from collectionstore_node.backup.sealing import Sealer

ROOT: Final = "backups/"
AHEAD: Final = 3
"""Parts that are fetched ahead of the reader; each is in memory."""
_STARTED: Final = re.compile(r"([0-9]{8}T[0-9]{6}Z)-")


class Listed(NamedTuple):
    """A backup in a repository; `manifest` is None if there is none, or if it cannot be read: `problem` says why."""

    id: str
    manifest: Manifest | None
    problem: str


def folder(backup_id: str) -> str:
    """Return the prefix of everything that belongs to a backup."""
    return f"{ROOT}{backup_id}/"


def manifest_name(backup_id: str) -> str:
    """Return the name of a manifest."""
    return f"{folder(backup_id)}manifest.json"


def backup_ids(repository: Repository) -> list[str]:
    """Return the IDs of everything that is, or was to become, a backup, the oldest first: one listing."""
    return [name for name in repository.folders(ROOT) if ID.fullmatch(name)]


def list_backups(repository: Repository) -> list[Listed]:
    """Return everything that is, or was to become, a backup, the oldest first."""
    names = backup_ids(repository)
    with ThreadPoolExecutor(8, thread_name_prefix="manifest") as pool:
        return list(pool.map(lambda name: _listed(repository, name), names))


def read_manifest(repository: Repository, backup_id: str) -> tuple[bytes, Manifest]:
    """Return a manifest and its file. Raises `NotFound` if the backup has none, `Corrupt`."""
    data = repository.get(manifest_name(backup_id), MANIFEST_BYTES_MAX)
    return data, decode_manifest(data, backup_id)


def open_backup(repository: Repository, backup_id: str, key: bytes | None) -> tuple[Manifest, Sealer | None]:
    """Return a manifest that is verified, and the keys for its parts. Raises `NotFound`, `Corrupt`, and
    `CredentialsRefused` for a key that is missing, or not the one.
    """
    data, manifest = read_manifest(repository, backup_id)
    return manifest, authenticate(data, manifest, key)


def look(repository: Repository, listed: Listed) -> Found:
    """Return what retention needs to know: whether every part is there, with its size."""
    manifest = listed.manifest
    # Complete also with a manifest that cannot be read: it is damaged, and not left over.
    complete = manifest is not None or bool(listed.problem)
    intact = False
    if manifest is not None:
        sizes = {one.name: one.size for one in repository.objects(folder(listed.id))}
        expected = {folder(listed.id) + part_name(n): part.stored_bytes for n, part in enumerate(manifest.parts)}
        intact = expected.items() <= sizes.items()
    cluster_id, index = ("", 0) if manifest is None else (manifest.cluster_id, manifest.applied_index)
    return Found(listed.id, started(listed.id), complete, intact, cluster_id, index)


def started(backup_id: str) -> datetime:
    """Return when a run of this ID started."""
    found = _STARTED.match(backup_id)
    if found is None:
        raise NotFound(f"{backup_id!r} is not the ID of a backup")
    return datetime.strptime(found[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def is_complete(repository: Repository, backup_id: str) -> bool:
    """Return whether a backup has a manifest now."""
    try:
        repository.get(manifest_name(backup_id), MANIFEST_BYTES_MAX)  # read: an empty listing proves nothing
    except NotFound:
        return False
    return True


def delete_backup(repository: Repository, backup_id: str) -> int:
    """Delete a backup and return how many objects went; what an interrupted call leaves is no backup any more."""
    # FIRST the manifest: from then on nothing takes it for a complete backup.
    repository.delete(manifest_name(backup_id))
    names = [one.name for one in repository.objects(folder(backup_id))]
    with ThreadPoolExecutor(8, thread_name_prefix="delete") as pool:
        for _ in pool.map(repository.delete, names):
            pass
    repository.tidy(folder(backup_id), staged=True)
    return 1 + len(names)


class PartReader:
    """The stream of a backup, read from its parts in order; each is verified before any of it is handed on.

    A `Source` of `SnapshotStream`. Parts are fetched and decompressed ahead, in threads. Use it as a context manager.
    """

    def __init__(
        self,
        repository: Repository,
        manifest: Manifest,
        sealer: Sealer | None,
        progress: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        """`progress` is called with the bytes of each part that was read."""
        self._repository = repository
        self._manifest = manifest
        self._sealer = sealer
        self._progress = progress
        self._pool = ThreadPoolExecutor(AHEAD, thread_name_prefix="part")
        self._numbers = iter(range(len(manifest.parts)))
        self._ahead: list[Future[bytes]] = []
        self._part = b""
        self._at = 0

    def __enter__(self) -> PartReader:
        for _ in range(AHEAD):
            self._fetch()
        return self

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def read(self, count: int, /) -> bytes:
        """Return `count` bytes, fewer only at the end. Raises `Corrupt`, and what a repository raises."""
        if self._at + count <= len(self._part):
            self._at += count
            return self._part[self._at - count : self._at]
        return b"".join(self._pieces(count))

    def _pieces(self, count: int) -> Iterator[bytes]:
        while count:
            piece = self._part[self._at : self._at + count]
            self._at += len(piece)
            count -= len(piece)
            yield piece
            if count and not self._next():
                return

    def _next(self) -> bool:
        if not self._ahead:
            return False
        self._part, self._at = self._ahead.pop(0).result(), 0
        self._progress(len(self._part))
        self._fetch()
        return True

    def _fetch(self) -> None:
        number = next(self._numbers, None)
        if number is not None:
            self._ahead.append(self._pool.submit(self._load, number))

    def _load(self, number: int) -> bytes:
        manifest = self._manifest
        name = folder(manifest.id) + part_name(number)
        try:
            data = self._repository.get(name, PART_BYTES_MAX + STORED_OVERHEAD_MAX)
        except NotFound:
            raise Corrupt(f"{name} is missing from {self._repository.url}") from None
        return load_part(number, manifest.parts[number], data, manifest.id, self._sealer)


def _listed(repository: Repository, backup_id: str) -> Listed:
    try:
        return Listed(backup_id, read_manifest(repository, backup_id)[1], "")
    except NotFound:
        return Listed(backup_id, None, "")
    except Corrupt as error:
        return Listed(backup_id, None, str(error))
