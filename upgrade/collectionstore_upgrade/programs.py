"""Which program each member of a local cluster runs: the node of the older commit, or this checkout's.

The supervisor starts every member through one launcher, which looks up the interpreter that was chosen for the member
and replaces itself with it. A choice takes effect when the member restarts.
"""

from __future__ import annotations

import os
import shlex
import sys
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

LAUNCHER: Final = """#!/bin/sh
# Run the node with the interpreter that was chosen for this member.
chosen={folder}/$COLLECTIONSTORE_NAME
[ -e "$chosen" ] || chosen={folder}/{default}
exec "$(cat "$chosen")" -m collectionstore_node
"""
DEFAULT: Final = "default"


class Version(Enum):
    """The two versions of an upgrade."""

    OLDER = "older"
    TODAY = "today"


@dataclass(frozen=True, slots=True)
class Programs:
    """The interpreters of both versions, and the choices in `folder`."""

    folder: Path
    older: Path
    today: Path = Path(sys.executable)

    @classmethod
    def create(cls, folder: Path, older: Path) -> Programs:
        """Write the launcher into an empty folder; every member runs the older version until another one is chosen."""
        programs = cls(folder, older)
        programs.launcher.write_text(LAUNCHER.format(folder=shlex.quote(str(folder)), default=DEFAULT))
        programs.launcher.chmod(0o755)
        programs.choose_all(Version.OLDER)
        return programs

    @property
    def launcher(self) -> Path:
        """The command that starts a member."""
        return self.folder / "launch"

    def choose(self, member: str, version: Version) -> None:
        """Let one member run `version` from its next start on."""
        _write(self.folder / member, self._interpreter(version))

    def choose_all(self, version: Version) -> None:
        """Let all members run `version` from their next start on."""
        _write(self.folder / DEFAULT, self._interpreter(version))
        for path in self.folder.iterdir():
            if path not in (self.launcher, self.folder / DEFAULT):
                path.unlink()

    def running(self, pid: int) -> Version | None:
        """Return which version a process runs, None if it has exited."""
        try:
            # Not /proc/PID/exe: both environments may link to one and the same interpreter.
            interpreter = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
        except OSError:
            return None
        return next((one for one in Version if os.fsencode(self._interpreter(one)) == interpreter), None)

    def _interpreter(self, version: Version) -> Path:
        return self.older if version is Version.OLDER else self.today


def _write(path: Path, interpreter: Path) -> None:
    """Replace a choice atomically: a member that starts meanwhile reads the old one or the new one."""
    written = path.with_name(f".{path.name}")
    written.write_text(str(interpreter))
    written.rename(path)
