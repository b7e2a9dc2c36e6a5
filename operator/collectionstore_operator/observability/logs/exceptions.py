"""Exceptions as they are logged: type, text and frames, without local variables and without what a text may quote.

What Python raises about a value quotes it, and what clients of the API server raise quotes its answers, which may be
Secrets. Such texts are left out; type and frames say enough to find the line.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO

FRAMES_MAX: Final = 50
CHAIN_MAX: Final = 10
LEFT_OUT: Final = "(left out: it may quote data)"

_OURS: Final = "collectionstore_"
_QUOTING: Final = (ValueError, LookupError)
_QUOTING_PACKAGES: Final = ("kopf", "kubernetes")

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def text_of(error: BaseException) -> str:
    """Return the text of an exception, or that it was left out."""
    module = type(error).__module__
    quotes = isinstance(error, _QUOTING) and not module.startswith(_OURS)
    return LEFT_OUT if quotes or module.partition(".")[0] in _QUOTING_PACKAGES else str(error)


def describe(error: BaseException) -> list[dict[str, Any]]:
    """Return an exception and what it came from, as JSON; those of a group are inside it."""
    return [_described(one) for one in _chain(error)]


def render(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Put `exception` in place of `exc_info`: a processor of structlog."""
    error = _error(event.pop("exc_info", None))
    if error is not None:
        event["exception"] = describe(error)
    return event


def write(stream: TextIO, exc_info: ExcInfo) -> None:
    """Write an exception for people, as structlog's console asks for it; the cause first, as Python does."""
    stream.write("\n")
    for one in reversed(list(_chain(exc_info[1]))):
        stream.write("Traceback (most recent call last):\n")
        for line in traceback.format_list(traceback.extract_tb(one.__traceback__)[-FRAMES_MAX:]):
            stream.write(line)
        stream.write(f"{type(one).__qualname__}: {text_of(one)}\n")


def _described(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    described: dict[str, Any] = {
        "exc_type": type(error).__qualname__,
        "exc_value": text_of(error),
        "frames": [{"filename": one.filename, "lineno": one.lineno, "name": one.name} for one in frames],
    }
    if isinstance(error, BaseExceptionGroup):
        described["exceptions"] = [describe(one) for one in error.exceptions[:CHAIN_MAX]]
    return described


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen and len(seen) < CHAIN_MAX:
        yield one
        seen.add(id(one))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _error(exc_info: object) -> BaseException | None:
    """Return what `exc_info` means in all its forms: an exception, a triple of `sys.exc_info`, or True."""
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exc_info()[1] if exc_info else None
