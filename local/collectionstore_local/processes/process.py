"""One operating-system process, identified so that a signal never reaches another process.

A pid is not enough: the kernel reuses it. A process is identified by boot ID, pid and start time from /proc, and every
signal goes through a pidfd that was opened BEFORE that identity was checked, so that the process checked is the process
signaled.
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
class ProcessIdentity:
    """Identifies one process across pid reuse and reboots; `start_ticks` in clock ticks since boot."""

    boot_id: str
    pid: int
    start_ticks: int


def boot_id() -> str:
    """Return the kernel's ID of the current boot."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify_process(pid: int) -> ProcessIdentity | None:
    """Return the identity of the running process `pid`; None if there is none, or only its zombie."""
    fields = _stat_fields(pid)
    if not fields or fields[0] in "ZX":
        return None
    return ProcessIdentity(boot_id(), pid, int(fields[19]))


def own_identity() -> ProcessIdentity:
    """Return the identity of this process."""
    return ProcessIdentity(boot_id(), os.getpid(), int(_stat_fields(os.getpid())[19]))


def is_paused(pid: int) -> bool:
    """Return whether the process is stopped by a signal such as SIGSTOP."""
    return _stat_fields(pid)[:1] == ["T"]


def _stat_fields(pid: int) -> list[str]:
    """Return the fields of /proc/<pid>/stat from the third, the state, on; none if there is no such process."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    # The command name in parentheses may contain spaces and parentheses: fields count from the last one.
    return stat[stat.rindex(")") + 2 :].split()


def arguments(pid: int) -> list[str]:
    """Return the command of a process with its arguments; empty for a kernel thread, or if it has ended.

    Also empty for an instant after `start`: the kernel wakes the parent before it has set up the new program's stack.
    """
    try:
        content = (PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode(errors="replace") for word in content.split(b"\0")[:-1]]


def command_line(pid: int) -> str:
    """Return the command line of a process for messages, "?" if it cannot be read."""
    return " ".join(arguments(pid)) or "?"


def environment(pid: int) -> dict[str, str]:
    """Return the environment a process was started with; empty if it has ended or belongs to another user.

    Empty for an instant after `start`, as `arguments` is.
    """
    try:
        pairs = (PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(pair.decode(errors="replace").split("=", 1) for pair in pairs if b"=" in pair)


def process_ids() -> Iterator[int]:
    """Yield the pid of every process of the machine, in no particular order."""
    return (int(entry.name) for entry in PROC.iterdir() if entry.name.isdigit())


class Process:
    """A process that was started or adopted, held by its pidfd; `fileno` becomes readable when it ends."""

    def __init__(self, identity: ProcessIdentity, pidfd: int, *, child: bool) -> None:
        self.identity = identity
        self._pidfd = pidfd
        self._child = child
        self._exit_code: int | None = None

    @property
    def adopted(self) -> bool:
        """Return whether another process started it: its exit code cannot be known then."""
        return not self._child

    def fileno(self) -> int:
        return self._pidfd

    def is_running(self) -> bool:
        """Return whether it runs; a child that has ended is reaped."""
        # waitid works on own children alone. An adopted process is reaped by init, so only /proc shows its end.
        return identify_process(self.identity.pid) == self.identity if self.adopted else self._reap() is None

    def exit_code(self) -> int | None:
        """Return the exit code of an ended child (negative: the signal that killed it), None if unknown."""
        return None if self.adopted else self._reap()

    def send(self, signal_number: signal.Signals) -> None:
        """Send a signal; does nothing if the process has ended."""
        try:
            signal.pidfd_send_signal(self._pidfd, signal_number)
        except ProcessLookupError:
            pass  # it has ended meanwhile, which the pidfd reports as well

    def close(self) -> None:
        """Close the handle; the process keeps running."""
        os.close(self._pidfd)

    def _reap(self) -> int | None:
        # Kept: once reaped, waitid raises ChildProcessError, and the pid may be in use again.
        if self._exit_code is None:
            result = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if result is not None:
                exited = result.si_code == os.CLD_EXITED
                self._exit_code = result.si_status if exited else -result.si_status
        return self._exit_code


def start(command: Sequence[str], variables: Mapping[str, str], *, output: Path) -> Process:
    """Start `command` in a new session, so that it outlives this process and its terminal; append its output to a file.

    Raises OSError when the program cannot be started.
    """
    # O_APPEND: stdout and stderr share the file, and lines of an earlier process are kept. O_CLOEXEC: the child gets
    # only the two duplicates, not this descriptor.
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
                # Descriptors inherited from our caller: this process outlives it, and would keep its pipes open.
                *((os.POSIX_SPAWN_CLOSE, file) for file in _inheritable_files()),
            ],
            setsid=True,
            setsigmask=(),
            # Python ignores these two signals, and an ignored signal stays ignored across exec.
            setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),
        )
    finally:
        os.close(log)
    # A child that has ended keeps its pid until it is reaped, so neither call can reach another process.
    return Process(identify_process(pid) or ProcessIdentity(boot_id(), pid, 0), os.pidfd_open(pid), child=True)


def _inheritable_files() -> list[int]:
    """Return the descriptors above 2 that a new program would inherit."""
    found = []
    # Read at every start: libraries and threads open descriptors at any time.
    for entry in (PROC / "self/fd").iterdir():
        file = int(entry.name)
        try:
            if file > 2 and os.get_inheritable(file):
                found.append(file)
        except OSError:
            pass  # the descriptor of the listing itself, closed meanwhile
    return found


def adopt(identity: ProcessIdentity) -> Process | None:
    """Return a handle on this process; None if it has ended, even if its pid is in use again."""
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return None
    # AFTER the pidfd was opened: a check before it could be of an earlier process with this pid.
    if identify_process(identity.pid) != identity:
        os.close(pidfd)
        return None
    return Process(identity, pidfd, child=False)
