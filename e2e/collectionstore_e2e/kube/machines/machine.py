"""A machine: PID, mount, network, UTS and IPC namespaces with their own files, which end with their first process.

It has its own `/var/lib`, `/var/log` and `/run`, so every program runs with its usual paths; `/run/kube` contains the
programs that were built here. Processes are found by the mark in their environment, never by a PID file: so the remains
of a crash are found as well.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from collectionstore_e2e.kube.errors import ComponentFailed
from collectionstore_e2e.kube.machines import cgroups, waiting
from collectionstore_e2e.kube.places import MARK, STATE
from collectionstore_testkit import commands

BINARIES: Final = Path("/run/kube")
PATH: Final = f"{BINARIES}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
START_S: Final = 20.0
END_S: Final = 20.0
TAIL_LINES: Final = 15

# Runs as the first process of the namespaces. It becomes `sleep` with SIGCHLD ignored: so the kernel reaps the orphans
# that it inherits. `env` sets that; a shell's `trap` for SIGCHLD does not survive exec.
# `make-rprivate` comes first: nothing mounted here may reach the host.
SETUP: Final = """
set -e
mount --make-rprivate /
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
files=$1; name=$2; shift 2
while [ $# -gt 0 ]; do
    mkdir "/run/$1"
    mount --bind "$2" "/run/$1"
    shift 2
done
mount --bind "$files/log" /var/log
mount --bind "$files/lib" /var/lib
hostname "$name"
ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
echo ready
exec >/dev/null 2>&1
exec env --ignore-signal=CHLD sleep infinity
"""
FIRST: Final = "sleep"
"""The program of a machine's first process after SETUP."""

# The shell moves itself into the groups, then becomes the program: it never runs outside of them.
ENTER_CGROUPS: Final = 'for procs in $CGROUPS; do echo 0 > "$procs"; done; unset CGROUPS; exec "$@"'


@dataclass(frozen=True, slots=True)
class Process:
    """A process of a machine: `pid` as the host sees it, `first` if it is the machine's first one."""

    pid: int
    machine: str
    program: str
    first: bool


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine by name, running or not."""

    name: str

    @property
    def files(self) -> Path:
        """The folder with its `/var/lib` (`lib`) and `/var/log` (`log`)."""
        return STATE / "machines" / self.name

    @property
    def lib(self) -> Path:
        return self.files / "lib"

    @property
    def log(self) -> Path:
        return self.files / "log"

    def first_pid(self) -> int | None:
        """Return the host's PID of its first process, or None if it is not running."""
        return next((one.pid for one in processes() if one.machine == self.name and one.first), None)

    def start(self, shared: Mapping[str, Path]) -> int:
        """Start it without programs; return the host's PID of its first process.

        The folders in `shared` are mounted in it as `/run/<name>`; `kube` must be among them.
        """
        for folder in (self.lib, self.log):
            folder.mkdir(parents=True, exist_ok=True)
        namespaces = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc", "--net", "--uts", "--ipc"]
        setup = ["sh", "-c", SETUP, "setup", str(self.files), self.name]
        setup += [str(word) for pair in shared.items() for word in pair]
        errors = self.log / "setup.log"
        with errors.open("wb") as stderr:
            process = subprocess.Popen(
                ["sh", "-c", ENTER_CGROUPS, "enter", *namespaces, *setup],
                env={**self._environment(), "CGROUPS": " ".join(map(str, cgroups.make(self.name)))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        assert process.stdout is not None
        with process.stdout as stdout:
            if stdout.readline() != b"ready\n":
                process.kill()
                process.wait()
                raise ComponentFailed(f"{self.name} did not start: {errors.read_text().strip()}")
        # During execve the environment of a process, and with it the mark, cannot be read.
        waiting.wait_until(
            lambda: self._settled() or process.poll() is not None, what=f"{self.name} to start", timeout_s=START_S
        )
        pid = self.first_pid()
        if pid is None:
            raise ComponentFailed(f"{self.name} ended while it started: {errors.read_text().strip()}")
        return pid

    def _settled(self) -> bool:
        """Return whether its first process has become FIRST."""
        return any(one.machine == self.name and one.first and one.program == FIRST for one in processes())

    def run(self, argv: Sequence[str | Path], *, stdin: bytes | IO[bytes] | None = None, timeout_s: float = 300) -> str:
        """Run a program in it until it exits, and return its output. Raises `CommandFailed`."""
        return commands.run(
            self._inside(argv), stdin=stdin, environment={**os.environ, **self._environment()}, timeout_s=timeout_s
        )

    def spawn(self, argv: Sequence[str | Path]) -> None:
        """Start a daemon in the machine's cgroup; its output goes to `log/<program>.log`.

        Returns when it is running, which does not mean ready. Raises `ComponentFailed` if it does not start.
        """
        program = Path(str(argv[0])).name
        log = f"/var/log/{program}.log"
        detached = ["sh", "-c", 'log=$1; shift; setsid "$@" >>"$log" 2>&1 </dev/null &', "spawn", log]
        groups = " ".join(map(str, cgroups.make(self.name)))
        commands.run(
            ["sh", "-c", ENTER_CGROUPS, "enter", *self._inside([*detached, *map(str, argv)])],
            environment={**self._environment(), "CGROUPS": groups},
        )
        # On a busy machine the shell may not have become the program yet.
        waiting.wait_until(
            lambda: program in self.programs(),
            what=f"{program} to run on {self.name}",
            timeout_s=START_S,
            clue=lambda: self.tail(program),
        )

    def programs(self) -> list[str]:
        """Return the names of all programs running in it, except in containers."""
        return [one.program for one in processes() if one.machine == self.name]

    def tail(self, program: str) -> str:
        """Return the path and the last lines of a program's log."""
        log = self.log / f"{program}.log"
        lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
        return "\n".join([f"{log} ends:", *lines])

    def kill(self) -> None:
        """Kill it, as by a power failure; its disk is kept."""
        kill([self.name])

    def delete_files(self) -> None:
        """Delete its disk; call it only while the machine is not running."""
        shutil.rmtree(self.files, ignore_errors=False)

    def shell(self) -> int:
        """Open an interactive shell in it; return its exit code."""
        environment = {**self._environment(), "TERM": os.environ.get("TERM", "dumb")}
        return subprocess.run(self._inside(["sh"]), env=environment, check=False).returncode

    def _inside(self, argv: Sequence[str | Path]) -> list[str]:
        pid = self.first_pid()
        if pid is None:
            raise ComponentFailed(f"{self.name} is not running")
        return ["nsenter", f"--target={pid}", "--pid", "--mount", "--net", "--uts", "--ipc", "--", *map(str, argv)]

    def _environment(self) -> dict[str, str]:
        # The user's environment is not inherited: it may contain proxies and credentials.
        return {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8", MARK: self.name}


def processes() -> Iterator[Process]:
    """Yield every process with the mark in its environment, also after its parent has ended."""
    mark = f"{MARK}=".encode()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            name = next((entry[len(mark) :].decode() for entry in environment if entry.startswith(mark)), None)
            if name is None:
                continue
            status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended meanwhile
        except PermissionError:
            continue  # it has privileges that this root lacks, so it is not one of ours
        numbers = status["NSpid"].split()
        yield Process(
            pid=int(folder.name),
            machine=name,
            program=_program(folder, status["Name"].strip()),
            # NSpid has one number per nested namespace: the first process of a container has three.
            first=len(numbers) == 2 and numbers[1] == "1",
        )


def _program(folder: Path, otherwise: str) -> str:
    # The kernel truncates a process name to 15 characters; the first word of its command line is complete.
    try:
        word = (folder / "cmdline").read_bytes().split(b"\0")[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return otherwise
    return Path(word).name or otherwise


def kill(machines: Sequence[str]) -> None:
    """Kill these machines and everything in them, and return when no process is left."""

    def gone() -> bool:
        left = [one for one in processes() if one.machine in machines and one.pid != os.getpid()]
        # The kernel kills the PID namespace with its first process; processes outside of it, such as nsenter, remain.
        for one in left:
            _kill(one.pid)
        return not left

    waiting.wait_until(gone, what=f"the end of {', '.join(machines)}", timeout_s=END_S)


def kill_unmarked() -> None:
    """Kill processes in the cluster's cgroups without the mark: containers, whose environment is their image's."""

    def gone() -> bool:
        left = cgroups.processes() - {os.getpid()}
        for pid in left:
            _kill(pid)
        return not left

    waiting.wait_until(gone, what="the end of the processes in the cluster's cgroups", timeout_s=END_S)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it has ended already
