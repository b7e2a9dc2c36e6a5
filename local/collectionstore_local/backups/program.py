"""How `collectionstore-backup` is run on this machine, and how it reaches a local cluster."""

from __future__ import annotations

import sys
from typing import Final

from collectionstore_local.processes.port_allocation import HOST, node_ports
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_operator.resource.desired import Desired

PROGRAM: Final = (sys.executable, "-m", "collectionstore_node.backup")
PREFIX: Final = "COLLECTIONSTORE_BACKUP_"


def endpoints(desired: Desired) -> list[str]:
    """Return the client URLs of the members; any of them names the others."""
    return [f"{scheme(desired)}://{HOST}:{node_ports(desired, one).client}" for one in range(desired.spec.replicas)]


def scheme(desired: Desired) -> str:
    """Return the scheme of the client URLs."""
    return "http" if desired.spec.tls.client == "Disabled" else "https"


def credentials(directory: ClusterDirectory, desired: Desired) -> dict[str, str]:
    """Return the files that prove the owner of the cluster, by the name of their option."""
    if scheme(desired) == "http":
        return {"token-file": str(directory.admin_token)}
    files = {"ca-file": "ca.crt", "cert-file": "tls.crt", "cert-key-file": "tls.key"}
    return {option: str(directory.credentials / name) for option, name in files.items()}


def access(directory: ClusterDirectory, desired: Desired) -> list[str]:
    """Return the options by which it reaches a local cluster, as its owner."""
    found = [word for url in endpoints(desired) for word in ("--endpoint", url)]
    return [*found, *(word for name, path in credentials(directory, desired).items() for word in (f"--{name}", path))]


def variables(directory: ClusterDirectory, desired: Desired) -> dict[str, str]:
    """Return the same as variables of its environment."""
    files = {name.replace("-", "_").upper(): path for name, path in credentials(directory, desired).items()}
    return {f"{PREFIX}{name}": value for name, value in (files | {"ENDPOINTS": " ".join(endpoints(desired))}).items()}
