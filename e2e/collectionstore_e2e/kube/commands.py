"""Runs programs to their end, and waits for conditions; failures carry what the program said."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from collectionstore_e2e.kube.errors import CommandFailed, ComponentFailed

SHOWN_LINES: Final = 25
# Whoever is killed here must not leave a build or a debootstrap behind. What a program starts for itself lives on.
DIE_TOGETHER: Final = ("setpriv", "--pdeathsig", "KILL", "--")
POLL_S: Final = 0.1


def run(
    argv: Sequence[str | Path],
    *,
    stdin: bytes | IO[bytes] | None = None,
    environment: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
    timeout_s: float = 900.0,
) -> str:
    """Run a program and return what it printed to stdout. Raises `CommandFailed` with the end of its stderr.

    With `on_line`, stderr is handed over line by line while it runs, and stdout is not kept.
    """
    words = [*DIE_TOGETHER, *map(str, argv)]
    if on_line is not None:
        return _run_following(words, environment, cwd, on_line)
    given: dict[str, object] = {"input": stdin} if isinstance(stdin, bytes) else {"stdin": stdin or subprocess.DEVNULL}
    try:
        done = subprocess.run(  # type: ignore[call-overload]
            words, env=environment, cwd=cwd, capture_output=True, timeout=timeout_s, check=False, **given
        )
    except subprocess.TimeoutExpired as expired:
        raise CommandFailed(f"{_shown(words)} did not end within {timeout_s:.0f} s") from expired
    if done.returncode != 0:
        raise _failure(words, done.returncode, (done.stderr or done.stdout).decode(errors="replace").splitlines())
    printed: str = done.stdout.decode(errors="replace")
    return printed


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
    return CommandFailed(f"{_shown(words)}\nended with exit code {code}:\n{shown}")


def _shown(words: list[str]) -> str:
    return shlex.join(words[len(DIE_TOGETHER) :])


def wait_until(
    condition: Callable[[], bool], *, what: str, timeout_s: float, clue: Callable[[], str] = lambda: ""
) -> None:
    """Return when `condition` holds; raises `ComponentFailed` naming `what`, with a `clue`, when it does not in time.

    Used where the kernel or a component that is starting offers nothing to wait on.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ComponentFailed(f"{what}: not within {timeout_s:.0f} s\n{clue()}".rstrip())
        time.sleep(POLL_S)
