"""The state directory of local clusters: the files of each cluster and their meaning.

    <state directory>/                    0700, marked as a state directory by the file MARK
        <cluster>/                        0700, one per cluster name
            resource.json                 the applied resource with metadata.generation
            manifest.json                 the manifest applied last, as written by the user
            intent.json                   desired run state: Running or Stopped, set by `up` and `down`
            operator.json                 state of the reconcile loop: cluster ID, fencing epoch, workload
            status.json                   written by the reconcile loop when it changes
            observed.json                 the last observation, for csctl: age of the status, input of `plan`
            events.jsonl                  events of the reconcile loop, one per line, bounded
            admin.token                   proves the owner to nodes without client TLS, 0600
            ca/ operator/                 the cluster's certificate authority; the operator's certificate
            backups/objects/ secrets/     CollectionStoreBackups and schedules; the Secrets that they name
            backups/runs/                 what runs for them: records, results and logs
            nodes/<name>/                 data/ volume.json tls/ node.log process.json routes.json
            reserve                       space for these files on a disk that the members share and have filled
            edit.lock                     held by the csctl that changes or restores the cluster
            supervisor.{lock,pid,log,wake}
            faults.json proxy.{json,lock,log}    network faults between members, while there are any

Every JSON file is replaced atomically: a reader sees the old or the new content, never a mix of both.
This module knows names and permissions, not the meaning of the content.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.errors import LocalError

MARK = "COLLECTIONSTORE_STATE"
MARK_TEXT = "State of local Collection Store clusters, created by csctl. Delete it with `csctl local clean`.\n"
DIRECTORY_MODE = 0o700
FILE_MODE = 0o600
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
EDIT_LOCK = "edit.lock"
RESERVE = "reserve"
"""Real blocks for the files of csctl and the supervisor, which share a disk with the members."""
RESERVE_BYTES = 4 << 20
RESERVE_STEP_BYTES = 128 << 10
RESERVE_KEPT_ABOVE_BYTES = 16 << 20
"""The reserve is filled with this much available."""


class StateDirectoryRefused(LocalError):
    """The directory is not a state directory, or belongs to another user: choose another one."""

    exit_code = ExitCode.REFUSED


class ClusterNotFound(LocalError):
    """The cluster does not exist; the message names those that do."""

    exit_code = ExitCode.NOT_FOUND


class ClusterBusy(LocalError):
    """Another csctl changes the cluster; nothing was done."""

    exit_code = ExitCode.REFUSED


def write_atomically(path: Path, content: bytes, *, durable: bool = True, mode: int = FILE_MODE) -> None:
    """Replace the content of `path` atomically; with `durable` the change survives a power failure.

    On a full disk it spends the reserve of the cluster, so that a cluster can be stopped and started there.
    """
    with_reserve(path, lambda: _replace(path, content, durable=durable, mode=mode))


def with_reserve(path: Path, write: Callable[[], None]) -> None:
    """Call `write`; if the disk is full, once more with space of the reserve. What fails leaves nothing behind.

    Raises `OSError` when the reserve is spent.
    """
    try:
        write()
    except OSError as error:
        if error.errno not in FULL or not _spend_reserve(path):
            raise
        write()


def _spend_reserve(path: Path) -> bool:
    """Free a part of the reserve of the cluster that `path` belongs to; return whether there was any."""
    for parent in path.parents:
        reserve = parent / RESERVE
        if reserve.is_file() and (size := reserve.stat().st_size):
            os.truncate(reserve, max(0, size - RESERVE_STEP_BYTES))
            return True
        if (parent / MARK).is_file():
            break
    return False


def _keep_reserve(directory: Path) -> None:
    """Fill the reserve of a cluster again when there is plenty of space."""
    reserve = directory / RESERVE
    room = os.statvfs(directory)
    if room.f_bavail * room.f_frsize < RESERVE_KEPT_ABOVE_BYTES:
        return
    with reserve.open("ab") as file:
        if os.fstat(file.fileno()).st_size < RESERVE_BYTES:
            os.posix_fallocate(file.fileno(), 0, RESERVE_BYTES)


def _replace(path: Path, content: bytes, *, durable: bool, mode: int) -> None:
    # In the same directory: a rename across file systems is not atomic.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(file.fileno(), mode)
            # BEFORE the rename: after a crash the new name must never point to content that was not written.
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
    """Replace a JSON file atomically, indented for people who debug a cluster."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    write_atomically(path, text.encode() + b"\n", durable=durable)


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, None if it does not exist.

    Raises LocalError for invalid JSON: writes are atomic, so the file was edited by hand.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise LocalError(f"{path} is not valid JSON: {error}. Repair it, or delete the file.") from error


@dataclass(frozen=True, slots=True)
class ClusterDirectory:
    """The directory of one cluster; properties are paths."""

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
    def run_state(self) -> Path:
        return self.path / "intent.json"

    @property
    def admin_token(self) -> Path:
        return self.path / "admin.token"

    @property
    def operator_state(self) -> Path:
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
    def peer_authority(self) -> Path:
        """That of peers, where it is another one."""
        return self.path / "ca-peers"

    @property
    def nodes(self) -> Path:
        return self.path / "nodes"

    @property
    def backups(self) -> Path:
        return self.path / "backups"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

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
        """Return the directory of the node `name`, which need not exist."""
        return NodeDirectory(self.nodes / name)

    def node_names(self) -> tuple[str, ...]:
        """Return the names of all nodes that have a directory, in order of ordinal."""
        if not self.nodes.is_dir():
            return ()
        return tuple(sorted((entry.name for entry in self.nodes.iterdir() if entry.is_dir()), key=ordinal_key))

    @contextmanager
    def edit_lock(self, *, wait: bool = True) -> Iterator[int]:
        """Hold the lock for changes of resource.json and intent.json: one csctl at a time.

        Yields its descriptor: a process that inherits it keeps the lock until it ends, too. Raises ClusterBusy if it is
        held, without `wait`; ClusterNotFound if the directory is not there, or not any more.
        """
        path = self.path / EDIT_LOCK
        while True:
            try:
                file = path.open("a")
            except FileNotFoundError:
                raise ClusterNotFound(f"{self.path} is not there, or was deleted meanwhile; try again") from None
            with file:
                os.fchmod(file.fileno(), FILE_MODE)
                try:
                    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise ClusterBusy(f"another csctl is changing or restoring {self.name}; nothing was done") from None
                if not _is_at(file.fileno(), path):
                    continue  # deleted with its directory while this one waited: it excludes no one any more
                _keep_reserve(self.path)
                yield file.fileno()
                return


@dataclass(frozen=True, slots=True)
class NodeDirectory:
    """The directory of one node: its volume, certificates, log and process record."""

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
        """Of the peer port, and of the client port unless there is `client_tls`."""
        return self.path / "tls"

    @property
    def client_tls(self) -> Path:
        """Of the client port, where peers have an authority of their own."""
        return self.path / "tls-clients"

    @property
    def log(self) -> Path:
        return self.path / "node.log"

    @property
    def restore_failure(self) -> Path:
        """How the restore that this node begins with has failed last; not there if it has not."""
        return self.path / "restore.failed.json"

    @property
    def process(self) -> Path:
        return self.path / "process.json"

    @property
    def routes(self) -> Path:
        """Addresses at which this node reaches its peers through the fault proxy, while there are network faults."""
        return self.path / "routes.json"

    @property
    def replace_request(self) -> Path:
        """Exists while a replacement of this member is requested, as the `replace` annotation on a pod does."""
        return self.path / "replace.requested"


def ordinal_key(name: str) -> tuple[str, int]:
    """Return a sort key that puts alpha-2 before alpha-10; its second part is the ordinal, -1 if there is none."""
    stem, _, ordinal = name.rpartition("-")
    return (stem, int(ordinal)) if ordinal.isdigit() else (name, -1)


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """The marked directory that holds all local clusters of a project."""

    path: Path

    @classmethod
    def at(cls, path: Path) -> StateDirectory:
        """Return the state directory at `path`, which need not exist. Raises StateDirectoryRefused."""
        path = path.absolute()
        if path.exists():
            if not path.is_dir() or (not _is_marked(path) and any(path.iterdir())):
                raise StateDirectoryRefused(
                    f"{path} is not empty and not a state directory of csctl (it has no file {MARK}). "
                    "Choose another directory with --state-dir."
                )
            _check_owner(path)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> StateDirectory:
        """Return an existing state directory. Raises ClusterNotFound or StateDirectoryRefused."""
        state = cls.at(path)
        if not _is_marked(state.path):
            raise ClusterNotFound(f"no local cluster in {state.path}. Start one: csctl local up -f FILE")
        return state

    def cluster_names(self) -> tuple[str, ...]:
        """Return the names of all clusters that have an applied resource, sorted."""
        return tuple(sorted(entry.parent.name for entry in self.path.glob("*/resource.json")))

    def cluster(self, name: str | None) -> ClusterDirectory:
        """Return the directory of the cluster `name`, of the only one if `name` is None. Raises ClusterNotFound."""
        names = self.cluster_names()
        if name is None and len(names) > 1:
            raise ClusterNotFound(f"several clusters in {self.path}: {', '.join(names)}. Select one: --cluster NAME")
        if name is None and names:
            name = names[0]
        if name is None or name not in names:
            known = f"; there are: {', '.join(names)}" if names else ""
            what = f"no cluster named {name!r}" if name else "no cluster"
            raise ClusterNotFound(f"{what} in {self.path}{known}. Start one: csctl local up -f FILE")
        return ClusterDirectory(self.path / name)

    def create_cluster(self, name: str) -> ClusterDirectory:
        """Return the directory of the cluster `name`; create it and the state directory if they are missing."""
        self.path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
        if not _is_marked(self.path):
            write_atomically(self.path / MARK, MARK_TEXT.encode())
        directory = ClusterDirectory(self.path / name)
        for path in (directory.path, directory.nodes, directory.backups, directory.secrets):
            path.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        return directory

    def delete_cluster(self, directory: ClusterDirectory) -> None:
        """Delete a cluster's directory with all its data, and the state directory if no other cluster is in it."""
        if directory.path.parent != self.path or directory.path.is_symlink():
            raise StateDirectoryRefused(
                f"{directory.path} is not a cluster directory of {self.path}; nothing was deleted."
            )
        shutil.rmtree(directory.path)
        if {entry.name for entry in self.path.iterdir()} == {MARK}:
            (self.path / MARK).unlink()
            self.path.rmdir()


def _is_at(descriptor: int, path: Path) -> bool:
    """Return whether an open file is the one at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _is_marked(path: Path) -> bool:
    return (path / MARK).is_file()


def _check_owner(path: Path) -> None:
    owner = path.stat().st_uid
    if owner != os.geteuid():
        raise StateDirectoryRefused(
            f"{path} belongs to the user with uid {owner}, you are uid {os.geteuid()}. "
            "Choose another directory with --state-dir."
        )
