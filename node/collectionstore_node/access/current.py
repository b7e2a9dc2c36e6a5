"""The caller of what runs now.

The API sets it for every request, every operation of a stream and every hot request, BEFORE it calls the store. None
means that it was not told who calls: that is refused where access control is enforced. Work of the node itself goes to
the replica and does not pass the store.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

from collectionstore_node.access.callers import Caller

CALLER: Final[ContextVar[Caller | None]] = ContextVar("caller", default=None)
