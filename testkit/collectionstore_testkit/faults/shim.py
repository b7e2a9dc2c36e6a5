"""The preloaded disk shim: compiled at start, controlled by one small file per member. See shim.c."""

from __future__ import annotations

import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("shim.c")
ALL_SYNCS: Final = 0xFFFFFFFF
DATA_DIR: Final = "COLLECTIONSTORE_DATA_DIR"
NAME: Final = "COLLECTIONSTORE_NAME"
_WRITE: Final = """
import errno, os, sys
try:
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    os.write(file, b"data")
    os.fsync(file)
except OSError as error:
    print(errno.errorcode[error.errno])
"""
_FIELDS: Final = struct.Struct("=IIII")
_SYNC_ERRORS, _FULL, _SYNC_DELAY_MS, _MET = (4 * position for position in range(4))


class NoCompiler(Exception):
    """The shim cannot be built; the text says what to do."""


class Powerless(Exception):
    """The shim was built, but processes are not met by it."""


class Control:
    """What the shim of one member does now; the same for every process of that member."""

    def __init__(self, path: Path) -> None:
        """Make the file; it must be there before the member starts."""
        path.write_bytes(_FIELDS.pack(0, 0, 0, 0))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _FIELDS.size)

    def fail_syncs(self, count: int) -> None:
        """Have the next `count` syncs of a file fail with EIO; `ALL_SYNCS` for all, 0 for none."""
        self._set(_SYNC_ERRORS, count)

    def delay_syncs(self, delay_ms: int) -> None:
        """Have every sync take so much longer."""
        self._set(_SYNC_DELAY_MS, delay_ms)

    def fill(self, *, full: bool) -> None:
        """Have everything that needs space fail with ENOSPC."""
        self._set(_FULL, int(full))

    @property
    def met(self) -> int:
        """Number of calls in which a fault was injected."""
        value: int = struct.unpack_from("=I", self._memory, _MET)[0]
        return value

    def clear(self) -> None:
        """End every fault."""
        for field in (_SYNC_ERRORS, _FULL, _SYNC_DELAY_MS):
            self._set(field, 0)

    def close(self) -> None:
        """Close the file."""
        self._memory.close()

    def _set(self, field: int, value: int) -> None:
        struct.pack_into("=I", self._memory, field, value)


class Shim:
    """The built library and a control for every member there can be; nothing of it when it is not needed."""

    def __init__(self, folder: Path, names: tuple[str, ...], *, needed: bool) -> None:
        """Compile the library into `folder` and try it. Raises `NoCompiler` or `Powerless`."""
        self.environment: Mapping[str, str] = {}
        """The variables with which members are to be started."""
        self._controls: dict[str, Control] = {}
        if needed:
            controls = folder / "controls"
            controls.mkdir()
            self.environment = {"LD_PRELOAD": str(_compile(folder)), "CHAOS_SHIM_CONTROL": str(controls)}
            self._controls = {name: Control(controls / name) for name in names}
            self._prove(folder / "proof", names[0])

    def of(self, name: str) -> Control:
        """Return the control of a member."""
        return self._controls[name]

    def clear(self) -> None:
        """End every fault of every member."""
        for control in self._controls.values():
            control.clear()

    def close(self) -> None:
        """Close the files."""
        for control in self._controls.values():
            control.close()

    def _prove(self, folder: Path, name: str) -> None:
        """Have a small process met by the shim: a fault that does nothing proves nothing. Raises `Powerless`."""
        folder.mkdir()
        environment = {**os.environ, **self.environment, DATA_DIR: str(folder), NAME: name}
        control = self.of(name)
        control.fail_syncs(1)
        self._expect(environment, "EIO")
        control.fill(full=True)
        self._expect(environment, "ENOSPC")
        control.clear()
        self._expect(environment, "")

    def _expect(self, environment: Mapping[str, str], error: str) -> None:
        command = [sys.executable, "-c", _WRITE, str(Path(environment[DATA_DIR]) / "file")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.stdout.strip() != error:
            raise Powerless(
                f"the preloaded shim should have made a write end with {error or 'no error'}, but it ended with "
                f"{done.stdout.strip() or 'none'}; is LD_PRELOAD obeyed here? {done.stderr.strip()}"
            )


def _compile(folder: Path) -> Path:
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        raise NoCompiler(
            "no C compiler, which the faults of disks need: install one (apt-get install gcc), name it in CC, or "
            "leave those faults out with --only"
        )
    library = folder / "shim.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-Wall", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NoCompiler(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr.strip()}")
    return library
