"""Makes a local cluster from a backup: a new identity, one member with the restored data, then the ordinary start.

The program `collectionstore-backup` does the work, in a process of its own: its deadline may end it at any point.
"""

from __future__ import annotations

import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Final

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.commands.lifecycle import cluster_directory
from collectionstore_local.commands.port_check import check_ports
from collectionstore_local.errors import LocalError
from collectionstore_local.processes.port_allocation import HOST, node_ports
from collectionstore_local.state import applied_resource, manifest
from collectionstore_local.state.applied_resource import ResourceChange
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory
from collectionstore_local.state.manifest import Manifest
from collectionstore_local.state.operator_state import OperatorStateFile
from collectionstore_local.state.run_state import RunState, write_run_state
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource.desired import Desired, Runtime, parse

PROGRAM: Final = (sys.executable, "-m", "collectionstore_node.backup")
_DEFAULT: Final[dict[str, Any]] = {
    "apiVersion": "collectionstore.io/v1alpha1",
    "kind": "CollectionStoreCluster",
    "spec": {"replicas": 3, "tls": {"client": "Disabled"}},
}
"""Without a manifest: as examples/local.yaml."""


class RestoreRefused(LocalError):
    """There is a cluster of this name already; nothing was changed."""

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
    if _is_cluster(directory):
        raise RestoreRefused(
            f"there is a cluster {name} in {state.path} already. A restore makes a new one: choose another --name, or "
            f"delete that one: csctl local clean --cluster {name}"
        )
    check_ports(state, directory, desired)
    return Manifest(resource, desired)


def restore(
    state: StateDirectory, loaded: Manifest, arguments: Sequence[str]
) -> tuple[ClusterDirectory, ResourceChange]:
    """Restore with `arguments` of `collectionstore-backup restore`, and have the cluster run. Raises ProgramFailed."""
    desired = loaded.desired
    directory = cluster_directory(state, desired.name)
    if directory.path.exists():
        shutil.rmtree(directory.path)  # what an interrupted restore left: `prepare` found no cluster in it
    state.create_cluster(desired.name)
    # BEFORE the data is there, and as one that has data: a cluster that is started on half of a restore waits for its
    # member, and is never formed anew in place of it.
    identity = OperatorStateFile(directory.operator_state).change(cluster_id=secrets.token_hex(8), initialized=True)
    node = directory.node(desired.member(0))
    node.path.mkdir(mode=0o700, parents=True)
    ports = node_ports(desired.spec.local, 0)
    scheme = "http" if desired.spec.tls.client == "Disabled" else "https"
    code = run_program(
        "restore",
        *arguments,
        *("--data-dir", str(node.data), "--cluster-id", identity.cluster_id, "--name", node.name),
        *("--peer-address", f"{HOST}:{ports.peer}", "--client-address", f"{scheme}://{HOST}:{ports.client}"),
    )
    if code:
        state.delete_cluster(directory)
        raise ProgramFailed(code)
    with directory.edit_lock():
        change = applied_resource.prepare_start(directory, loaded)
        applied_resource.write(directory, change)
        write_run_state(directory, RunState.RUNNING)
    return directory, change


def access(directory: ClusterDirectory, desired: Desired) -> list[str]:
    """Return the options by which `collectionstore-backup` reaches a local cluster, as its owner."""
    scheme = "http" if desired.spec.tls.client == "Disabled" else "https"
    found = []
    for ordinal in range(desired.spec.replicas):
        found += ["--endpoint", f"{scheme}://{HOST}:{node_ports(desired.spec.local, ordinal).client}"]
    if scheme == "http":
        return [*found, "--token-file", str(directory.admin_token)]
    held = directory.credentials
    files = {"--ca-file": "ca.crt", "--cert-file": "tls.crt", "--cert-key-file": "tls.key"}
    return [*found, *(text for option, name in files.items() for text in (option, str(held / name)))]


def run_program(*arguments: str) -> int:
    """Run `collectionstore-backup` on this terminal and return its exit code."""
    return subprocess.run([*PROGRAM, *arguments], check=False).returncode


def _is_cluster(directory: ClusterDirectory) -> bool:
    return directory.resource.exists() or directory.run_state.exists()
