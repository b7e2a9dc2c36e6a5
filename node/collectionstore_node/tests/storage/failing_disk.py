"""A process whose disk fails: `python -m collectionstore_node.tests.storage.failing_disk DIR HOW`.

It stores three entries, lets the disk fail, tries to store a fourth and then everything else, and prints as JSON what
each call raised. HOW is `fsync` (every fsync of the process returns EIO from then on), `tail_marker` (only those
of the tail marker file), or `write` (no file may grow).
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from collectionstore_node.errors import Fatal
from collectionstore_node.raft.messages import Index
from collectionstore_node.statemachine.view import Writes
from collectionstore_node.storage import Database
from collectionstore_node.tests.storage.entries import apply, extend, metadata, open_database

_FSYNC_FDATASYNC: Final = {"x86_64": (74, 75), "aarch64": (82, 83)}
_WRITES: Final = {
    # write, pwrite64, writev, ftruncate, fallocate, pwritev
    "x86_64": (1, 18, 20, 77, 285, 296),
    "aarch64": (64, 68, 66, 46, 47, 70),
}
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 22, 38, 2
_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC = 1, 1
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_GREATER, _RETURN = 0x20, 0x15, 0x25, 0x06
_NUMBER_OFFSET, _ARGUMENT_OFFSET = 0, 16
_STDERR = 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("if_true", ctypes.c_uint8),
        ("if_false", ctypes.c_uint8),
        ("operand", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def fail_fsync(file: int | None = None) -> None:
    """Make the kernel answer EIO to this thread's fsync and fdatasync, of one file descriptor or of all."""
    fsync, fdatasync = _FSYNC_FDATASYNC[platform.machine()]
    instructions = [
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        (_JUMP_IF_EQUAL, 1, 0, fsync),
        (_JUMP_IF_EQUAL, 0, 3 if file is not None else 1, fdatasync),
        *(((_LOAD, 0, 0, _ARGUMENT_OFFSET), (_JUMP_IF_EQUAL, 0, 1, file)) if file is not None else ()),
        (_RETURN, 0, 0, _ERRNO | errno.EIO),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program = _program(instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    for call in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        (_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0),
    ):
        if libc.prctl(*call) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def fill_disk() -> None:
    """Make the kernel answer ENOSPC to every write of this process, in all its threads, but to the standard streams."""
    numbers = _WRITES[platform.machine()]
    instructions = [(_LOAD, 0, 0, _NUMBER_OFFSET)]
    for position, number in enumerate(numbers):
        instructions.append((_JUMP_IF_EQUAL, len(numbers) - position, 0, number))
    instructions += [
        (_RETURN, 0, 0, _ALLOW),
        (_LOAD, 0, 0, _ARGUMENT_OFFSET),
        (_JUMP_IF_GREATER, 0, 1, _STDERR),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSPC),
        (_RETURN, 0, 0, _ALLOW),
    ]
    program = _program(instructions)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    arguments = (_SECCOMP_SET_MODE_FILTER, _SECCOMP_FILTER_FLAG_TSYNC, ctypes.byref(program))
    if libc.syscall(_SECCOMP[platform.machine()], *arguments) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")


def _program(instructions: list[tuple[int, int, int, int]]) -> _Program:
    array = (_Instruction * len(instructions))(*(_Instruction(*instruction) for instruction in instructions))
    return _Program(len(instructions), array)


def fail_writes(_: int) -> None:
    """Let no file grow: every write behind its end returns EFBIG."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))


def main(directory: Path, how: str) -> dict[str, str]:
    """Return the name of what each call raised, or "nothing"."""
    database = open_database(directory)
    extend(database, 3)
    apply(database, 3, {b"a": b"1"})
    database.log.sync()
    tail_marker = next(int(name) for name in os.listdir("/proc/self/fd") if _points_to(name, directory / "WITNESS"))
    if how == "write":
        fail_writes(tail_marker)
    else:
        fail_fsync(tail_marker if how == "tail_marker" else None)
    return {name: raised(call) for name, call in calls(database).items()}


def calls(database: Database) -> dict[str, Callable[[], object]]:
    """Return a fourth entry's append and sync, and then one call of everything."""
    return {
        "append": lambda: extend(database, 4),
        "sync": database.log.sync,
        "append again": lambda: database.log.append((), database.log.hard_state()),
        "sync again": database.log.sync,
        "entries": lambda: database.log.entries(Index(1), Index(2), 1),
        "term": lambda: database.log.term(Index(1)),
        "get": lambda: database.state.get(b"a"),
        "scan": lambda: list(database.state.scan(b"a", b"b")),
        "commit": lambda: database.state.commit(Writes(), database.state.applied.__class__(Index(4))),
        "compact": lambda: database.log.compact(metadata(database, 2)),
        "export": lambda: database.export_snapshot(database.spool),
        "property of a family": lambda: database.family_property("estimate-num-keys"),
        "property of the whole": lambda: database.whole_property("background-errors"),
        "close": database.close,
    }


def raised(call: Callable[[], object]) -> str:
    """Return the name of what `call` raises; only what a node would catch is expected."""
    try:
        call()
    except Fatal as error:
        return type(error).__name__
    return "nothing"


def _points_to(name: str, path: Path) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{name}") == str(path)
    except FileNotFoundError:
        return False  # the listing's own descriptor


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]).resolve(), sys.argv[2])))
    sys.stdout.flush()
    # As a node does: nothing more may be written on the way out.
    os._exit(0)
