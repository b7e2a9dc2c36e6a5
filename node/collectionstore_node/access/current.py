"""The caller of what runs now.

The API sets it for every request, every operation of a stream and every hot request, BEFORE it calls the store. None
means that it was not told who calls: that is refused where access control is enforced. Work of the node itself goes to
the replica and does not pass the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final

from collectionstore_node.access.callers import Caller

CALLER: Final[ContextVar[Caller | None]] = ContextVar("caller", default=None)


@contextmanager
def calling(caller: Caller | None) -> Iterator[None]:
    """Run what is within as `caller`: in callbacks, which run in the context of whatever has caused them."""
    token = CALLER.set(caller)
    try:
        yield
    finally:
        CALLER.reset(token)
