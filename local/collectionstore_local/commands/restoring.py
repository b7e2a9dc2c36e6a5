"""Makes a local cluster from a backup: a new identity, one member with the restored data, then the ordinary start.

The program `collectionstore-backup` does the work, in a process of its own: its deadline may end it at any point.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.backups.program import PROGRAM, scheme
from collectionstore_local.commands.lifecycle import cluster_directory
from collectionstore_local.commands.port_check import check_ports
from collectionstore_local.errors import LocalError
from collectionstore_local.processes.port_allocation import HOST, node_ports
from collectionstore_local.processes.supervisor_process import is_supervised
from collectionstore_local.state import applied_resource, manifest
from collectionstore_local.state.applied_resource import ResourceChange
from collectionstore_local.state.directory import EDIT_LOCK, RESERVE, ClusterDirectory, StateDirectory
from collectionstore_local.state.manifest import Manifest
from collectionstore_local.state.operator_state import OperatorStateFile
from collectionstore_local.state.run_state import RunState, write_run_state
from collectionstore_local.state.volumes import IDENTITY
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource.desired import Runtime, parse

RESTORING: Final = "RESTORING"
"""In a data directory that is being restored, until it is complete."""
_EMPTY: Final = frozenset({"lost+found", "LOCK", f"{RESTORING}.tmp"})
"""What a data directory may have that counts as empty; as `collectionstore-backup` sees it."""
_DEFAULT: Final[dict[str, Any]] = {
    "apiVersion": "collectionstore.io/v1alpha1",
    "kind": "CollectionStoreCluster",
    "spec": {"replicas": 3, "tls": {"client": "Disabled"}},
}
"""Without a manifest: as examples/local.yaml."""


class RestoreRefused(LocalError):
    """There is a cluster of this name already, or data that is not of a restore; nothing was changed."""

    exit_code = ExitCode.REFUSED


class ProgramFailed(LocalError):
    """`collectionstore-backup` failed, and has said why; the exit code is its own."""

    def __init__(self, code: int) -> None:
        super().__init__("collectionstore-backup failed; nothing was started")
        self.code = code


def prepare(state: StateDirectory, name: str, file: Path | None, base_port: int | None) -> Manifest:
    """Return the manifest of the new cluster, and check that it can be made. Raises RestoreRefused, ManifestInvalid,
    PortsTaken; nothing is changed.
    """
    loaded = manifest.load(file).resource if file is not None else _DEFAULT
    resource: dict[str, Any] = deepcopy(loaded)
    resource["metadata"] = {**resource.get("metadata", {}), "name": name}
    if base_port is not None:
        spec = resource["spec"] = {**resource.get("spec", {})}
        spec["local"] = {**spec.get("local", {}), "basePort": base_port}
    try:
        desired = parse(resource, runtime=Runtime.LOCAL)
    except InvalidResource as error:
        raise manifest.ManifestInvalid(manifest.describe(file or Path("the manifest"), error.errors, {})) from error
    directory = cluster_directory(state, name)
    _check_free(directory)
    check_ports(state, directory, desired)
    return Manifest(resource, desired)


def restore(
    state: StateDirectory, loaded: Manifest, arguments: Sequence[str]
) -> tuple[ClusterDirectory, ResourceChange]:
    """Restore with `arguments` of `collectionstore-backup restore`, and have the cluster run.

    Holds the lock of the cluster from the check that there is none until it is to run. Raises ProgramFailed, and what
    `prepare` raises; ClusterBusy if another csctl holds the lock.
    """
    desired = loaded.desired
    state.create_cluster(desired.name)
    directory = cluster_directory(state, desired.name)
    with directory.edit_lock(wait=False) as lock:
        # Again: since `prepare`, another csctl may have made a cluster of this name.
        _check_free(directory)
        check_ports(state, directory, desired)
        _clear(directory)
        # BEFORE the data is there, and as one that has data: a cluster that is started on half of a restore waits for
        # its member, and is never formed anew in place of it.
        identity = OperatorStateFile(directory.operator_state).change(cluster_id=secrets.token_hex(8), initialized=True)
        node = directory.node(desired.member(0))
        node.path.mkdir(mode=0o700, parents=True)
        ports = node_ports(desired, 0)
        code = run_program(
            "restore",
            *arguments,
            *("--data-dir", str(node.data), "--cluster-id", identity.cluster_id, "--name", node.name),
            *(
                "--peer-address",
                f"{HOST}:{ports.peer}",
                "--client-address",
                f"{scheme(desired)}://{HOST}:{ports.client}",
            ),
            lock=lock,
        )
        if code:
            # Under the lock since it was empty: all of it is of this restore.
            state.delete_cluster(directory)
            raise ProgramFailed(code)
        change = applied_resource.prepare_start(directory, loaded)
        applied_resource.write(directory, change)
        write_run_state(directory, RunState.RUNNING)
    return directory, change


def run_program(*arguments: str, lock: int | None = None) -> int:
    """Run `collectionstore-backup` on this terminal and return its exit code.

    `lock` is the descriptor of a lock that is held until the program ends, also if this process ends before it.
    """
    kept = () if lock is None else (lock,)
    return subprocess.run([*PROGRAM, *arguments], check=False, pass_fds=kept).returncode


def _check_free(directory: ClusterDirectory) -> None:
    """Raise RestoreRefused if there is a cluster, or anything but what an interrupted restore leaves."""
    name, path = directory.name, directory.path
    if directory.resource.exists() or directory.run_state.exists() or is_supervised(directory):
        raise RestoreRefused(
            f"there is a cluster {name} in {path.parent} already. A restore makes a new one: choose another --name, or "
            f"delete that one: csctl local clean --cluster {name}"
        )
    if found := _unexplained(directory):
        raise RestoreRefused(
            f"{path} is not what an interrupted restore leaves: it has {', '.join(found[:5])}. Nothing was deleted. "
            f"Choose another --name, or move {path} away"
        )


def _unexplained(directory: ClusterDirectory) -> list[str]:
    """Return what is in a directory that no interrupted restore leaves, relative to it."""
    path = directory.path
    if not path.is_dir():
        return []
    own = {directory.nodes, directory.operator_state, path / EDIT_LOCK, path / RESERVE}
    own |= {one for one in (directory.backups, directory.secrets) if one.is_dir() and not any(one.iterdir())}
    temporary = f".{directory.operator_state.name}."
    found = [one for one in path.iterdir() if one not in own and not one.name.startswith(temporary)]
    for node in directory.nodes.iterdir() if directory.nodes.is_dir() else ():
        data = directory.node(node.name).data
        if not node.is_dir() or node.is_symlink():
            found.append(node)
            continue
        found += [one for one in node.iterdir() if one != data]
        if data.is_symlink() or (data.exists() and not data.is_dir()):
            found.append(data)
        elif data.is_dir():
            present = {one.name for one in data.iterdir()} - _EMPTY
            if present and (RESTORING not in present or IDENTITY in present):
                found += [data / one for one in present]
    return sorted(str(one.relative_to(path)) for one in found)


def _clear(directory: ClusterDirectory) -> None:
    """Delete what an interrupted restore left, but not the lock; `_check_free` found nothing else."""
    if directory.nodes.is_dir():
        shutil.rmtree(directory.nodes)
    directory.operator_state.unlink(missing_ok=True)
