"""Runs kubectl: commands that users type, and commands in pods."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.commands import TIMEOUT_S, run
from collectionstore_e2e.harness.errors import NoCluster
from collectionstore_e2e.kube import binaries

NODE_VERBS: Final = frozenset({"cordon", "uncordon", "drain", "taint"})
"""Verbs that change nodes, and with them the scenarios that run beside."""


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl against one cluster, in one namespace."""

    program: Path
    kubeconfig: Path
    namespace: str
    refused: frozenset[str] = frozenset()
    """Verbs that the scenario must not use: it does not run alone."""

    async def __call__(self, *arguments: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """Run it and return its output. Raises `CommandRefused` if it fails."""
        if arguments[0] in self.refused:
            raise NoCluster(f"kubectl {arguments[0]} harms the scenarios beside: declare it with exclusive=True")
        connection = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        return await run(self.program, *arguments, further=tuple(connection), stdin=stdin, timeout_s=timeout_s)

    async def exec(self, pod: str, *command: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """Run a command in a pod's first container and return its output."""
        interactive = ["--stdin"] if stdin else []
        return await self("exec", pod, *interactive, "--", *command, stdin=stdin, timeout_s=timeout_s)


def find_kubectl() -> Path:
    """Return the kubectl that was built for the cluster, otherwise the one on the PATH."""
    built = binaries.folder() / "kubectl"
    found = built if built.exists() else shutil.which("kubectl")
    if found is None:
        raise NoCluster("kubectl is neither built (make kube-up) nor on the PATH")
    return Path(found)
