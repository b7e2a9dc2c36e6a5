"""The backups and schedules of a local cluster: takes the part of the API server for them.

csctl writes what is desired, the supervisor the status, into files of their own; both under one lock, held for as long
as a file takes. An object that is deleted stays while it has a finalizer.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from collectionstore_local.state.directory import (
    DIRECTORY_MODE,
    FILE_MODE,
    ClusterDirectory,
    read_json,
    sync_directory,
    write_json,
)
from collectionstore_operator.resource.backups import names

Body: TypeAlias = dict[str, Any]
Outcome: TypeAlias = Literal["created", "configured", "unchanged"]
KINDS: Final = (names.BACKUP_KIND, names.SCHEDULE_KIND)
_STATUS: Final = ".status"


class BackupObjects:
    """Those of one cluster. Without any, there is no file."""

    def __init__(self, directory: ClusterDirectory) -> None:
        self._path = directory.backups / "objects"

    def find(self, kind: str, name: str) -> Body | None:
        """Return an object with its status; None if there is none."""
        body: Body | None = read_json(self._file(kind, name))
        if body is None:
            return None
        told = read_json(self._file(kind, name + _STATUS)) or {}
        # A status of one of the same name that was deleted is none of this one's.
        return {**body, "status": told["status"]} if told.get("uid") == body["metadata"]["uid"] else body

    def all(self, kind: str) -> list[Body]:
        """Return all objects of a kind with their statuses, by name."""
        files = sorted((self._path / kind).glob("*.json"))
        found = [self.find(kind, one.stem) for one in files if not one.stem.endswith(_STATUS)]
        return [one for one in found if one is not None]

    def create(self, body: Body) -> bool:
        """Create an object with a uid of its own; return False if there is one of its name."""
        with self._lock():
            return self._create(body)

    def _create(self, body: Body) -> bool:
        path = self._file(body["kind"], body["metadata"]["name"])
        if path.exists():
            return False
        given = {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": _now()}
        self._write(path, {**body, "metadata": {**body["metadata"], **given}})
        return True

    def apply(self, body: Body) -> Outcome:
        """Create an object, or give the one of its name this spec, these labels and annotations."""
        with self._lock():
            path = self._file(body["kind"], body["metadata"]["name"])
            old: Body | None = read_json(path)
            if old is None:
                self._create(body)
                return "created"
            kept = {key: value for key, value in old["metadata"].items() if key not in ("labels", "annotations")}
            new = {**old, "metadata": {**kept, **body["metadata"]}, "spec": body.get("spec", {})}
            if new == old:
                return "unchanged"
            if new["spec"] != old["spec"]:
                new["metadata"]["generation"] = old["metadata"]["generation"] + 1
            self._write(path, new)
            return "configured"

    def publish(self, kind: str, name: str, uid: str, status: Mapping[str, Any]) -> None:
        """Write the status of the object with this uid, durably: what has ended is remembered there."""
        with self._lock():
            found = read_json(self._file(kind, name))
            if found is not None and found["metadata"]["uid"] == uid:
                write_json(self._file(kind, name + _STATUS), {"uid": uid, "status": status})

    def hold(self, kind: str, name: str, uid: str, *, held: bool) -> None:
        """Add or remove our finalizer of the object with this uid; one that is being deleted goes with the last."""
        with self._lock():
            path = self._file(kind, name)
            found = read_json(path)
            if found is None or found["metadata"]["uid"] != uid:
                return
            metadata = {**found["metadata"], "finalizers": [names.FINALIZER] if held else []}
            if not held and "deletionTimestamp" in metadata:
                self._remove(kind, name)
            else:
                self._write(path, {**found, "metadata": metadata})

    def delete(self, kind: str, name: str, uid: str | None = None) -> bool:
        """Delete an object, the one with this uid; return False if there is none."""
        with self._lock():
            path = self._file(kind, name)
            found = read_json(path)
            if found is None or uid not in (None, found["metadata"]["uid"]):
                return False
            if found["metadata"].get("finalizers"):
                metadata = {"deletionTimestamp": _now(), **found["metadata"]}
                self._write(path, {**found, "metadata": metadata})
            else:
                self._remove(kind, name)
            return True

    def _file(self, kind: str, name: str) -> Path:
        return self._path / kind / f"{name}.json"

    def _write(self, path: Path, body: Body) -> None:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        write_json(path, {key: value for key, value in body.items() if key != "status"})

    def _remove(self, kind: str, name: str) -> None:
        self._file(kind, name).unlink(missing_ok=True)
        self._file(kind, name + _STATUS).unlink(missing_ok=True)
        sync_directory(self._path / kind)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        descriptor = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
