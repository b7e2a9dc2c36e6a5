"""Exceptions as they are logged: type, text and frames, without local variables and without texts that may quote data.

Python's own errors quote the value they are about: KeyError('ada'), ValueError("invalid literal for int(): 'secret'").
Such a text could carry documents, keys or Secrets into the log, so it is left out; type and frames suffice to find the
line. Clients that quote the server's answer are named by the program (`quoting_packages`).
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, MutableMapping, Sequence
from types import TracebackType
from typing import Any, Final, TextIO

FRAMES_MAX: Final = 50
CHAIN_MAX: Final = 10
LEFT_OUT: Final = "(left out: it may quote data)"

_OURS: Final = "collectionstore_"
_QUOTING: Final = (ValueError, LookupError)

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class ExceptionFormatter:
    """Describes exceptions as JSON values, and writes them for people."""

    def __init__(self, quoting_packages: Sequence[str] = ()) -> None:
        """`quoting_packages` are top-level packages whose exceptions are logged without their text."""
        self._quoting_packages = frozenset(quoting_packages)

    def text_of(self, error: BaseException) -> str:
        """Return the text of an exception, or `LEFT_OUT`."""
        module = type(error).__module__
        # Our own subclasses of ValueError and LookupError word their texts themselves, without the value.
        quotes = isinstance(error, _QUOTING) and not module.startswith(_OURS)
        return LEFT_OUT if quotes or module.partition(".")[0] in self._quoting_packages else str(error)

    def describe(self, error: BaseException) -> list[dict[str, Any]]:
        """Return an exception and its causes as JSON values, at most CHAIN_MAX; members of a group are nested."""
        return [self._described(one) for one in _chain(error)]

    def render(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Replace `exc_info` with `exception`; a processor of structlog."""
        error = _error(event.pop("exc_info", None))
        if error is not None:
            event["exception"] = self.describe(error)
        return event

    def write(self, stream: TextIO, exc_info: ExcInfo) -> None:
        """Write a traceback, as structlog's console renderer calls it; the cause first, as Python does."""
        stream.write("\n")
        for one in reversed(list(_chain(exc_info[1]))):
            stream.write("Traceback (most recent call last):\n")
            for line in traceback.format_list(traceback.extract_tb(one.__traceback__)[-FRAMES_MAX:]):
                stream.write(line)
            stream.write(f"{type(one).__qualname__}: {self.text_of(one)}\n")

    def _described(self, error: BaseException) -> dict[str, Any]:
        frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
        described: dict[str, Any] = {
            "exc_type": type(error).__qualname__,
            "exc_value": self.text_of(error),
            "frames": [{"filename": one.filename, "lineno": one.lineno, "name": one.name} for one in frames],
        }
        if isinstance(error, BaseExceptionGroup):
            described["exceptions"] = [self.describe(one) for one in error.exceptions[:CHAIN_MAX]]
        return described


def _chain(error: BaseException) -> Iterator[BaseException]:
    # Causes can form a circle: `first.__cause__ = second` and the reverse.
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen and len(seen) < CHAIN_MAX:
        yield one
        seen.add(id(one))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _error(exc_info: object) -> BaseException | None:
    """Return the exception that `exc_info` represents: an exception, a triple of `sys.exc_info`, or True."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None
