"""Runs helm as users do."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from collectionstore_e2e.harness.commands import TIMEOUT_S, run
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import NoCluster
from collectionstore_e2e.kube import binaries


@dataclass(frozen=True, slots=True)
class Helm:
    """Runs helm against one cluster, in one namespace."""

    program: Path
    kubeconfig: Path
    namespace: str

    async def __call__(self, *arguments: str, timeout_s: float = TIMEOUT_S) -> str:
        """Run it and return its output. Raises `CommandRefused` if it fails."""
        connection = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        output = await run(self.program, *arguments, further=tuple(connection), merged=True, timeout_s=timeout_s)
        return output.strip()


def helm(context: Context) -> Helm:
    """Return helm for a scenario's namespace: the one that was built for the cluster, otherwise that on the PATH."""
    built = binaries.folder() / "helm"
    found = built if built.exists() else shutil.which("helm")
    if found is None:
        raise NoCluster("helm is neither built (make kube-up) nor on the PATH")
    return Helm(Path(found), context.kubectl.kubeconfig, context.namespace)
