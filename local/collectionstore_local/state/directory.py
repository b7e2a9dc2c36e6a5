"""The state directory: where a local cluster lives on disk, and what each file means.

    <state directory>/                    0700, marked as ours by the file MARK
        <cluster>/                        0700, one per cluster name
            resource.json                 the applied resource with metadata.generation
            manifest.json                 the manifest applied last, as it was written
            intent.json                   Running or Stopped: what `up` and `down` asked for last
            operator.json                 cluster id, fencing epoch and the like: the loop's own memory
            status.json                   written by the loop, only when something changed
            observed.json                 the last look, for csctl: how fresh the status is, and what to plan on
            events.jsonl                  what the loop did and why, one event a line, bounded
            ca/ operator/                 the cluster's certificate authority; the operator's own certificate
            nodes/<name>/                 data/ volume.json tls/ node.log process.json routes.json
            supervisor.{lock,pid,log,wake}
            faults.json proxy.{json,lock,log}    faults between members, while there are any

Every JSON file is replaced atomically, so a reader sees the old or the new content, never a mix.
This module knows names and permissions; it does not know what the content decides.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectionstore_local.errors import ExitCode, LocalError

MARK = "COLLECTIONSTORE_STATE"
MARK_TEXT = "State of local Collection Store clusters, made by csctl. Delete it with `csctl local clean`.\n"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600


class StateDirectoryRefused(LocalError):
    """The folder is not a state directory of ours, or does not belong to this user: use another one."""

    exit_code = ExitCode.REFUSED


class ClusterNotFound(LocalError):
    """No such cluster here; the message names those that exist."""

    exit_code = ExitCode.NOT_FOUND


def write_atomically(path: Path, content: bytes, *, durable: bool = True, mode: int = FILE_MODE) -> None:
    """Replace `path` by `content` in one step; with `durable` the change survives a power cut."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make renames, creations and deletions inside `path` durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: object, *, durable: bool = True) -> None:
    """Replace a JSON file atomically; readable by people, since people look here when something is wrong."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    write_atomically(path, text.encode() + b"\n", durable=durable)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or None when there is no such file.

    Raises LocalError when it is not JSON: our writes are atomic, so somebody edited it.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LocalError(f"{path} is not valid JSON: {error}. Repair it, or delete the file.") from error


@dataclass(frozen=True, slots=True)
class ClusterDirectory:
    """The folder of one cluster; properties are paths, methods read and write its small files."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def resource(self) -> Path:
        return self.path / "resource.json"

    @property
    def manifest(self) -> Path:
        return self.path / "manifest.json"

    @property
    def intent(self) -> Path:
        return self.path / "intent.json"

    @property
    def facts(self) -> Path:
        return self.path / "operator.json"

    @property
    def credentials(self) -> Path:
        return self.path / "operator"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def observed(self) -> Path:
        return self.path / "observed.json"

    @property
    def events(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def authority(self) -> Path:
        return self.path / "ca"

    @property
    def nodes(self) -> Path:
        return self.path / "nodes"

    @property
    def lock(self) -> Path:
        return self.path / "supervisor.lock"

    @property
    def pid(self) -> Path:
        return self.path / "supervisor.pid"

    @property
    def wake(self) -> Path:
        return self.path / "supervisor.wake"

    @property
    def log(self) -> Path:
        return self.path / "supervisor.log"

    @property
    def faults(self) -> Path:
        return self.path / "faults.json"

    @property
    def fault_report(self) -> Path:
        return self.path / "proxy.json"

    @property
    def proxy_lock(self) -> Path:
        return self.path / "proxy.lock"

    @property
    def proxy_log(self) -> Path:
        return self.path / "proxy.log"

    def node(self, name: str) -> NodeDirectory:
        """Return the folder of the node called `name`; it need not exist yet."""
        return NodeDirectory(self.nodes / name)

    def node_names(self) -> tuple[str, ...]:
        """Return the names of every node that has a folder here, in order of ordinal."""
        if not self.nodes.is_dir():
            return ()
        return tuple(sorted((entry.name for entry in self.nodes.iterdir() if entry.is_dir()), key=ordinal_key))

    @contextmanager
    def edit(self) -> Iterator[None]:
        """Hold the right to change resource.json and intent.json: one csctl at a time."""
        with (self.path / "edit.lock").open("a") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


@dataclass(frozen=True, slots=True)
class NodeDirectory:
    """The folder of one node: its volume, its certificates, its log and what is known of its process."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def data(self) -> Path:
        return self.path / "data"

    @property
    def volume_mark(self) -> Path:
        return self.path / "volume.json"

    @property
    def tls(self) -> Path:
        return self.path / "tls"

    @property
    def log(self) -> Path:
        return self.path / "node.log"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def routes(self) -> Path:
        """Where this node dials others instead of their addresses, while there are faults between members."""
        return self.path / "routes.json"

    @property
    def replace_request(self) -> Path:
        """Exists while a user wants this member replaced: what the annotation is on a pod."""
        return self.path / "replace.requested"


def ordinal_key(name: str) -> tuple[str, int]:
    """Sort key that puts alpha-2 before alpha-10."""
    stem, _, ordinal = name.rpartition("-")
    return (stem, int(ordinal)) if ordinal.isdigit() else (name, -1)


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The marked folder that holds every local cluster of a project."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> StateDirectory:
        """Name the state directory, which need not exist yet. A folder with other content is refused."""
        path = path.absolute()
        if path.exists():
            if not path.is_dir() or (not _is_marked(path) and any(path.iterdir())):
                raise StateDirectoryRefused(
                    f"{path} is not empty and was not made by csctl (no {MARK} in it). "
                    "Choose another folder with --state-dir."
                )
            _check_owner(path)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> StateDirectory:
        """Open an existing state directory; ClusterNotFound when there is none, StateDirectoryRefused if not ours."""
        state = cls.at(path)
        if not _is_marked(state.path):
            raise ClusterNotFound(f"no local cluster in {state.path}. Start one: csctl local up -f FILE")
        return state

    def cluster_names(self) -> tuple[str, ...]:
        """Return the names of the clusters that have a resource here, sorted."""
        return tuple(sorted(entry.parent.name for entry in self.path.glob("*/resource.json")))

    def cluster(self, name: str | None) -> ClusterDirectory:
        """Return the folder of the cluster `name`, or of the only one when `name` is None."""
        names = self.cluster_names()
        if name is None and len(names) > 1:
            raise ClusterNotFound(f"several clusters in {self.path}: {', '.join(names)}. Say which: --cluster NAME")
        if name is None and names:
            name = names[0]
        if name is None or name not in names:
            known = f"; there are: {', '.join(names)}" if names else ""
            what = f"no cluster called {name!r}" if name else "no cluster"
            raise ClusterNotFound(f"{what} in {self.path}{known}. Start one: csctl local up -f FILE")
        return ClusterDirectory(self.path / name)

    def create_cluster(self, name: str) -> ClusterDirectory:
        """Return the folder of the cluster `name`; it and the state directory are made and marked when missing."""
        self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if not _is_marked(self.path):
            write_atomically(self.path / MARK, MARK_TEXT.encode())
        directory = ClusterDirectory(self.path / name)
        for path in (directory.path, directory.nodes):
            path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        return directory

    def delete_cluster(self, directory: ClusterDirectory) -> None:
        """Delete a cluster's folder with all its data, and the state directory too when nothing else is in it."""
        if directory.path.parent != self.path or directory.path.is_symlink():
            raise StateDirectoryRefused(f"{directory.path} is not a cluster folder of {self.path}; nothing deleted.")
        shutil.rmtree(directory.path)
        if {entry.name for entry in self.path.iterdir()} == {MARK}:
            (self.path / MARK).unlink()
            self.path.rmdir()


def _is_marked(path: Path) -> bool:
    return (path / MARK).is_file()


def _check_owner(path: Path) -> None:
    owner = path.stat().st_uid
    if owner != os.geteuid():
        raise StateDirectoryRefused(
            f"{path} belongs to the user with uid {owner}, you are uid {os.geteuid()}. "
            "Choose another folder with --state-dir."
        )
