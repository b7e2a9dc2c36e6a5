"""One operating-system process, held in a way that can never hit a stranger.

A pid alone proves nothing: the kernel reuses it. A process is named by (boot id, pid, start time) from /proc, and
every signal goes through a pidfd that was opened BEFORE that name was checked, so that the process checked is the
process signalled.
Linux only. Knows nothing about clusters.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessName:
    """What tells one process from every other; `start_ticks` is in clock ticks since boot, field 22 of its stat."""

    boot_id: str
    pid: int
    start_ticks: int


def boot_id() -> str:
    """Return the identity of this boot of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def name_process(pid: int) -> ProcessName | None:
    """Return the full name of the live process `pid`; None when there is none, or only its zombie."""
    fields = _stat_fields(pid)
    if not fields or fields[0] in "ZX":
        return None
    return ProcessName(boot_id(), pid, int(fields[19]))


def own_name() -> ProcessName:
    """Return the full name of this process."""
    return ProcessName(boot_id(), os.getpid(), int(_stat_fields(os.getpid())[19]))


def is_paused(pid: int) -> bool:
    """Return whether the process is stopped by a signal, as by SIGSTOP."""
    return _stat_fields(pid)[:1] == ["T"]


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the third one, the state, on; none when there is no such process."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The command in parentheses may itself hold spaces and parentheses: fields count from the last one.
    return stat[stat.rindex(")") + 2 :].split()


def arguments(pid: int) -> list[str]:
    """Return the command a process runs, with its arguments; empty for a kernel thread, or when it is gone."""
    try:
        content = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode(errors="replace") for word in content.split(b"\0")[:-1]]


def command_line(pid: int) -> str:
    """Return the command line of a process as one string for people, "?" when there is none to see."""
    return " ".join(arguments(pid)) or "?"


def environment(pid: int) -> dict[str, str]:
    """Return the environment a process was started with; empty when it is gone or not ours to read."""
    try:
        pairs = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(pair.decode(errors="replace").split("=", 1) for pair in pairs if b"=" in pair)


def process_ids() -> Iterator[int]:
    """Yield the pid of every process of the machine, in no order."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


class Process:
    """A process that we started or adopted, held by its pidfd; `fileno` becomes readable when it ends."""

    def __init__(self, name: ProcessName, pidfd: int, *, child: bool) -> None:
        self.name = name
        self._pidfd = pidfd
        self._child = child
        self._exit_code: int | None = None

    @property
    def adopted(self) -> bool:
        """Whether another process started it, so that its exit code cannot be learnt."""
        return not self._child

    def fileno(self) -> int:
        return self._pidfd

    def is_running(self) -> bool:
        """Return whether it has not ended yet; a child that has is reaped."""
        return name_process(self.name.pid) == self.name if self.adopted else self._reap() is None

    def exit_code(self) -> int | None:
        """Return the exit code of an ended child (negative: the signal that killed it), None when unknown."""
        return None if self.adopted else self._reap()

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal; nothing happens when it has ended."""
        try:
            signal.pidfd_send_signal(self._pidfd, signal_number)
        except ProcessLookupError:
            pass  # it ended on its own, which is what the pidfd reports

    def close(self) -> None:
        """Let go of the handle; the process goes on."""
        os.close(self._pidfd)

    def _reap(self) -> int | None:
        if self._exit_code is None:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if result is not None:
                exited = result.si_code == os.CLD_EXITED
                self._exit_code = result.si_status if exited else -result.si_status
        return self._exit_code


def start(command: Sequence[str], variables: Mapping[str, str], *, output: Path) -> Process:
    """Start `command` in a session of its own, so that it outlives us and our terminal; output is appended to a file.

    Raises OSError when the program cannot be started.
    """
    log = os.open(output, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        pid = os.posix_spawnp(
            command[0],
            list(command),
            variables,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, log, 1),
                (os.POSIX_SPAWN_DUP2, log, 2),
                # What our own caller left open for its children is not for this one, which outlives the caller.
                *((os.POSIX_SPAWN_CLOSE, file) for file in _inheritable_files()),
            ],
            setsid=True,
            setsigmask=(),
            # Python ignores these two, and what is ignored stays so in the new program.
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
    finally:
        os.close(log)
    # A child that has ended keeps its pid until it is reaped, so neither call can hit another process.
    return Process(name_process(pid) or ProcessName(boot_id(), pid, 0), os.pidfd_open(pid), child=True)


def _inheritable_files() -> list[int]:
    """Return the open files beyond standard error that a new program would get, besides those opened by Python."""
    found = []
    for entry in (PROC / "self/fd").iterdir():
        file = int(entry.name)
        try:
            if file > 2 and os.get_inheritable(file):
                found.append(file)
        except OSError:
            pass  # the listing's own descriptor, closed meanwhile
    return found


def adopt(name: ProcessName) -> Process | None:
    """Return a handle on the process of this name; None when it has ended, even if its pid is in use again."""
    try:
        pidfd = os.pidfd_open(name.pid)
    except ProcessLookupError:
        return None
    if name_process(name.pid) != name:
        os.close(pidfd)
        return None
    return Process(name, pidfd, child=False)
