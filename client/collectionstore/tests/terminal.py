"""A pseudo-terminal with a program on it: what a person sees, and the keys that a person presses."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

PATIENCE_S = 20.0
ESCAPES = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[()][A-Z0-9]|[=>78MDEHc])")


class Terminal:
    """A context manager; the program ends with it."""

    def __init__(self, words: Sequence[str], *, columns: int = 100, rows: int = 40, env: Mapping[str, str]) -> None:
        self._main, self._side = pty.openpty()
        fcntl.ioctl(self._side, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.raw = ""
        self._seen = 0
        program = Path(sys.executable).with_name(words[0])
        variables = {"PATH": "/usr/bin:/bin", "TERM": "xterm-256color", "LANG": "C.UTF-8", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self.process = subprocess.Popen(
            [program, *words[1:]],
            stdin=self._side,
            stdout=self._side,
            stderr=self._side,
            env={**variables, **env},
            start_new_session=True,
            preexec_fn=self._control,
        )
        os.close(self._side)

    def _control(self) -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        # It is ignored in a process that a shell has started in the background, and so in its children.
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        os.close(self._main)

    @property
    def text(self) -> str:
        """What has been written, without control sequences."""
        return ESCAPES.sub("", self.raw).replace("\r", "")

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._main, keys.encode())

    def until(self, wanted: str) -> str:
        """Read until this appears behind what was awaited before; return the text up to it."""
        deadline = time.monotonic() + PATIENCE_S
        while (found := self.text.find(wanted, self._seen)) < 0:
            assert self._read(deadline), f"{wanted!r} did not come; there is: {self.text[-2_000:]!r}"
        before, self._seen = self._seen, found + len(wanted)
        return self.text[before : self._seen]

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read(deadline):
            pass
        return self.process.wait(PATIENCE_S)

    def _read(self, deadline: float) -> bool:
        """Read something; return whether there was anything."""
        ready, _, _ = select.select([self._main], [], [], max(0.0, deadline - time.monotonic()))
        assert ready, f"nothing came; there is: {self.text[-2_000:]!r}"
        piece = b""
        with contextlib.suppress(OSError):  # EIO: the program has ended
            piece = os.read(self._main, 1 << 16)
        self.raw += piece.decode(errors="replace")
        return bool(piece)
