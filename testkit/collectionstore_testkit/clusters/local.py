"""A cluster on this machine that `csctl local` runs, with its own state directory, ports and name.

The clusters of the user are not touched. The cluster is always stopped at the end, and its state is deleted unless it
is to be kept.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from collectionstore_testkit.clusters.errors import ClusterFailed

CSCTL: Final = Path(sys.executable).with_name("csctl")
HOST: Final = "127.0.0.1"
PORT_STEP: Final = 10
NAME: Final = "bench"
STATE_PARENT: Final = Path("/var/tmp")
"""Not /tmp, which is in memory on many machines, where fsync costs nothing."""
UP_TIMEOUT_S: Final = 60.0
CSCTL_GRACE_S: Final = 15.0
"""csctl gets this much longer than the --timeout it was given, so that it can report what it was waiting for."""
STOP_TIMEOUT_S: Final = 90.0


@dataclass(frozen=True, slots=True)
class LocalCluster:
    """A cluster whose node i serves clients on `base_port` + i * PORT_STEP."""

    folder: Path
    base_port: int
    environment: Mapping[str, str] = field(default_factory=dict)
    """Additional variables for all its processes."""
    name: str = NAME
    program: Path = CSCTL
    """The csctl that runs the cluster; its supervisor comes from the same installation."""

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def manifest(self) -> Path:
        return self.folder / "cluster.yaml"

    @property
    def admin_headers(self) -> dict[str, str]:
        """The headers for requests that change the cluster; none for a cluster of a version without a token."""
        token = self.state / self.name / "admin.token"
        return {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}

    def member(self, ordinal: int) -> str:
        """Return the name of a member."""
        return f"{self.name}-{ordinal}"

    def url(self, ordinal: int) -> str:
        return f"http://{HOST}:{self.base_port + ordinal * PORT_STEP}"

    def urls(self, count: int) -> list[str]:
        return [self.url(ordinal) for ordinal in range(count)]

    def url_of(self, member: str) -> str:
        """Return the URL of a member by its name."""
        return self.url(int(member.rpartition("-")[2]))

    async def csctl(self, command: str, *arguments: str, timeout_s: float, allowed: Collection[int] = (0,)) -> str:
        """Run `csctl local COMMAND` on this cluster and return its stdout.

        Raises ClusterFailed if the exit code is not `allowed`.
        """
        words = [str(self.program), "local", command, "--state-dir", str(self.state), *arguments]
        # Files, not pipes: background processes that csctl starts keep its output open after it exits.
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            # Its own session: Ctrl-C reaches only this program, which stops its parts in the right order.
            process = await asyncio.create_subprocess_exec(
                *words,
                env={**os.environ, **self.environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
            try:
                async with asyncio.timeout(timeout_s):
                    await process.wait()
                end = f"exited with code {process.returncode}"
            except TimeoutError:
                end = f"took longer than {timeout_s:g} s"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
            printed = [_content(file) for file in (output, errors)]
        if process.returncode not in allowed:
            raise ClusterFailed("\n".join([f"{' '.join(words)} {end}", *printed]).rstrip())
        return printed[0]

    async def start(
        self, replicas: int, spec: Mapping[str, object] | None = None, *, timeout_s: float = UP_TIMEOUT_S
    ) -> None:
        """Start the cluster and wait until it is Ready; `spec` is merged into the manifest's. Raises ClusterFailed."""
        if not self.program.exists():
            raise ClusterFailed(
                f"{self.program} is missing: run `make install`, then this program with .venv/bin/python"
            )
        manifest = {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": "CollectionStoreCluster",
            "metadata": {"name": self.name},
            "spec": {
                "replicas": replicas,
                "tls": {"client": "Disabled"},
                "local": {"basePort": self.base_port, "portStep": PORT_STEP},
                **(spec or {}),
            },
        }
        await self._reconcile("up", manifest, timeout_s)

    async def apply(self, spec: Mapping[str, object]) -> None:
        """Change fields of the manifest's spec and wait until the cluster matches it. Raises ClusterFailed."""
        manifest = json.loads(self.manifest.read_text())
        manifest["spec"] |= spec
        await self._reconcile("apply", manifest, UP_TIMEOUT_S)

    async def resume(self) -> None:
        """Start a supervisor if none runs; it adopts the members that run. Raises ClusterFailed."""
        await self._reconcile("up", json.loads(self.manifest.read_text()), UP_TIMEOUT_S)

    async def _reconcile(self, command: str, manifest: Mapping[str, object], timeout_s: float) -> None:
        self.manifest.write_text(json.dumps(manifest, indent=2))  # JSON is YAML
        deadline = ("--timeout", f"{timeout_s:g}")
        await self.csctl(command, "-f", str(self.manifest), *deadline, timeout_s=timeout_s + CSCTL_GRACE_S)

    async def described(self) -> dict[str, Any]:
        """Return the output of `csctl local status -o json`."""
        value: dict[str, Any] = json.loads(await self.csctl("status", "-o", "json", timeout_s=30))
        return value

    async def stop(self, *, keep: bool) -> None:
        """Stop all processes, paused ones included, and delete the cluster's state unless `keep`.

        Raises ClusterFailed if csctl could not do it in order; the processes are killed even then.
        """
        # A second Ctrl-C would leave processes behind; stopping is bounded in time.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._signal_all(signal.SIGCONT)
            if (self.state / self.name).exists():
                command = ("down",) if keep else ("clean", "--yes")
                await self.csctl(*command, timeout_s=STOP_TIMEOUT_S)
        finally:
            self._signal_all(signal.SIGKILL)
            signal.signal(signal.SIGINT, before)

    def supervisor_pid(self) -> int:
        """Return the process ID of the supervisor, which restarts the nodes."""
        return int((self.state / self.name / "supervisor.pid").read_text())

    def node_logs(self) -> list[Path]:
        """Return the log files of all members, former ones included; each line is a JSON object."""
        return sorted((self.state / self.name / "nodes").glob("*/node.log"))

    def processes(self) -> list[int]:
        """Return all live processes of this cluster, found by their data directory or state directory."""
        return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and self._owns(entry)]

    def _owns(self, process: Path) -> bool:
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        state = os.fsencode(self.state)
        data = b"COLLECTIONSTORE_DATA_DIR=" + state + b"/"
        return any(one.startswith(data) for one in environment) or any(one.startswith(state + b"/") for one in words)

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self.processes():
            send_signal(pid, number)


@asynccontextmanager
async def local_cluster(
    *,
    replicas: int,
    base_port: int,
    spec: Mapping[str, object] | None = None,
    keep: bool = False,
    environment: Mapping[str, str] | None = None,
    name: str = NAME,
    program: Path = CSCTL,
) -> AsyncIterator[LocalCluster]:
    """Start a cluster, wait until it is Ready, and stop it at the end; with `keep` its files stay.

    `spec` is merged into the manifest's, `environment` into that of this process, `program` is its csctl.
    Raises ClusterFailed.
    """
    cluster = LocalCluster(make_folder(name), base_port, environment or {}, name, program)
    try:
        await cluster.start(replicas, spec)
        yield cluster
    finally:
        try:
            await cluster.stop(keep=keep)
        except ClusterFailed as error:
            # Not raised: it would hide the error that ended the block. All processes have been killed.
            sys.stderr.write(f"{error}\nthe cluster was killed\n")
        if keep:
            sys.stderr.write(f"kept: {cluster.folder}\n")
        else:
            shutil.rmtree(cluster.folder, ignore_errors=True)


def make_folder(name: str, parent: Path = STATE_PARENT) -> Path:
    """Create the folder of one cluster."""
    return Path(tempfile.mkdtemp(prefix=f"collectionstore-{name}-", dir=parent))


def _content(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").rstrip()


def send_signal(pid: int, number: signal.Signals) -> None:
    """Send a signal, unless the process has exited."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has exited
