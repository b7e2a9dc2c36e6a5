"""Runs programs to completion; a failure carries the end of the output."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from collectionstore_testkit.errors import CommandFailed

SHOWN_LINES: Final = 25
# If this process is killed, a build or a debootstrap must not keep running. Grandchildren are not affected.
_DIE_TOGETHER: Final = ("setpriv", "--pdeathsig", "KILL", "--")


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes | IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    timeout_s: float = 900.0,
) -> str:
    """Run a program and return its stdout. Raises `CommandFailed` with the end of its stderr.

    With `on_line`, stderr is passed on line by line while it runs, and stdout is discarded.
    """
    words = with_parent(list(map(str, argv)))
    if on_line is not None:
        return _run_following(words, environment, cwd, on_line)
    given: dict[str, object] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin or subprocess.DEVNULL}
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            words, env=environment, cwd=cwd, capture_output=True, timeout=timeout_s, check=False, **given
        )
    except subprocess.TimeoutExpired as expired:
        raise CommandFailed(f"{_shown(words)} did not exit within {timeout_s:.0f} s") from expired
    if done.returncode != 0:
        raise _failure(words, done.returncode, (done.stderr or done.stdout).decode(errors="replace").splitlines())
    printed: str = done.stdout.decode(errors="replace")
    return printed


def with_parent(words: Sequence[str]) -> list[str]:
    """Return the command of a program that is killed when the calling thread ends."""
    # util-linux has setpriv; without it only a killed test run leaves a program behind.
    return [*(_DIE_TOGETHER if shutil.which(_DIE_TOGETHER[0]) else ()), *words]


def _run_following(
    words: list[str], environment: Mapping[str, str] | None, cwd: Path | None, on_line: Callable[[str], None]
) -> str:
    lines: list[str] = []
    with subprocess.Popen(
        words, env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        try:
            for raw in process.stderr:
                lines.append(raw.decode(errors="replace").rstrip())
                on_line(lines[-1])
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise _failure(words, process.returncode, lines)
    return ""


def _failure(words: list[str], code: int, lines: list[str]) -> CommandFailed:
    shown = "\n".join(lines[-SHOWN_LINES:])
    return CommandFailed(f"{_shown(words)}\nexited with code {code}:\n{shown}")


def _shown(words: list[str]) -> str:
    return shlex.join(words[len(_DIE_TOGETHER) :] if words[0] == _DIE_TOGETHER[0] else words)
