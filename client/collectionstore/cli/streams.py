"""stdout and stderr as data is written to them: their width and colors, and what happens when the reader goes away."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from typing import Final, TextIO

from collectionstore.cli.exit_codes import CommandError, ExitCode

COLUMNS: Final = "COLUMNS"
NO_COLOR: Final = "NO_COLOR"
WIDTH_MIN: Final = 20


class ReaderGone(CommandError):
    """The program that reads stdout has ended, as `head` does: nothing is wrong, and nothing is said."""

    exit_code = ExitCode.READER_GONE


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is open, and a terminal."""
    return stream is not None and not stream.closed and stream.isatty()


def colored(stream: TextIO | None) -> bool:
    """Return whether colors belong on a stream: on a terminal, unless NO_COLOR is set. Source: no-color.org."""
    return is_terminal(stream) and not os.environ.get(NO_COLOR) and os.environ.get("TERM") != "dumb"


def width(stream: TextIO | None) -> int | None:
    """Return the columns of a terminal, or those that COLUMNS says; None elsewhere: nothing bounds a line in a pipe."""
    said = os.environ.get(COLUMNS, "")
    if said.isascii() and said.isdigit() and int(said[:6]) > 0:
        return max(WIDTH_MIN, int(said[:6]))
    return max(WIDTH_MIN, shutil.get_terminal_size().columns) if is_terminal(stream) else None


def write(text: str) -> None:
    """Write to stdout. Raises ReaderGone, and OSError such as a full disk; a closed stdout takes nothing."""
    stream = sys.stdout
    if stream is None or stream.closed:
        return
    try:
        stream.write(text)
    except UnicodeEncodeError:
        # A terminal of another encoding: what it does not have is shown as ?.
        encoding = stream.encoding or "ascii"
        stream.write(text.encode(encoding, "replace").decode(encoding))
    except BrokenPipeError as error:
        raise gone() from error
    except OSError:
        _drop_stdout()
        raise


def write_bytes(content: bytes) -> None:
    """Write bytes to stdout, not between texts. Raises ReaderGone, and OSError such as a full disk."""
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.buffer.write(content)
    except BrokenPipeError as error:
        raise gone() from error
    except OSError:
        _drop_stdout()
        raise


def flush() -> None:
    """Hand over what was written. Raises ReaderGone, and OSError such as a full disk."""
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise gone() from error
    except OSError as error:
        # What could not be written stays in the buffer: Python would try again at its exit, and show a traceback.
        _drop_stdout()
        if error.errno == errno.EINVAL:
            return
        raise


def gone() -> ReaderGone:
    """Return the error for a reader that has gone; what is still to be written goes nowhere."""
    _drop_stdout()
    return ReaderGone("the reader of stdout has gone")


def _drop_stdout() -> None:
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # replaced by a test or the shell: it has no descriptor, and no flush at the exit
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, descriptor)
    finally:
        os.close(nowhere)
