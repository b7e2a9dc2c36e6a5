"""helm, for what users type."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import CommandRefused, NoCluster
from collectionstore_e2e.kube import binaries

TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Helm:
    """Runs helm against one cluster, in one namespace."""

    program: Path
    kubeconfig: Path
    namespace: str

    async def __call__(self, *arguments: str, timeout_s: float = TIMEOUT_S) -> str:
        """Run it and return what it printed. Raises `CommandRefused` when it fails."""
        connection = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        process = await asyncio.create_subprocess_exec(
            self.program,
            *connection,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(timeout_s):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        text = out.decode(errors="replace").strip()
        if process.returncode:
            raise CommandRefused(f"helm {shlex.join(arguments)}", process.returncode, text)
        return text


def helm(context: Context) -> Helm:
    """Return helm for a scenario's namespace: the one that was built for the cluster, otherwise that on the PATH."""
    built = binaries.folder() / "helm"
    found = built if built.exists() else shutil.which("helm")
    if found is None:
        raise NoCluster("helm is neither built (make kube-up) nor on the PATH")
    return Helm(Path(found), context.kubectl.kubeconfig, context.namespace)
