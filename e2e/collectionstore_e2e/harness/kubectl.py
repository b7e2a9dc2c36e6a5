"""kubectl, for what users type, and for running commands in pods."""

from __future__ import annotations

import asyncio
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.errors import CommandRefused, NoCluster
from collectionstore_e2e.kube import binaries

TIMEOUT_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Kubectl:
    """Runs kubectl against one cluster, in one namespace."""

    program: Path
    kubeconfig: Path
    namespace: str

    async def __call__(self, *arguments: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """Run it and return what it printed. Raises `CommandRefused` when it fails."""
        connection = [f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"]
        process = await asyncio.create_subprocess_exec(
            self.program,
            *connection,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(timeout_s):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            command = f"kubectl {shlex.join(arguments)}"
            raise CommandRefused(command, process.returncode, (err + out).decode(errors="replace").strip())
        return out.decode(errors="replace")

    async def exec(self, pod: str, *command: str, stdin: str = "", timeout_s: float = TIMEOUT_S) -> str:
        """Run a command in a pod's first container and return what it printed."""
        interactive = ["--stdin"] if stdin else []
        return await self("exec", pod, *interactive, "--", *command, stdin=stdin, timeout_s=timeout_s)


def find_kubectl() -> Path:
    """Return the kubectl that was built for the cluster, otherwise the one on the PATH."""
    built = binaries.folder() / "kubectl"
    found = built if built.exists() else shutil.which("kubectl")
    if found is None:
        raise NoCluster("kubectl is neither built (make kube-up) nor on the PATH")
    return Path(found)
