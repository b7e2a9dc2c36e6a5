"""The allocator of the C library, which keeps what is freed.

The blocks of a memtable, 1 MiB each, are cut from the heap, and between them lie objects that live longer. So a node
that has dropped some memtables holds tens of MiB that nothing uses, in pieces that its next ones may not fit.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

GIVE_BACK_S: Final = 15.0
"""How often to call `give_back`. It takes some milliseconds of processor time, and what is given back and needed again
costs a page fault per 4 KiB: together less than a thousandth of a processor."""

_trim: Final[Callable[[int], int] | None] = getattr(ctypes.CDLL(None), "malloc_trim", None)


def give_back() -> None:
    """Give whole pages of freed memory back to the system. For a thread: another one that allocates may wait for it.

    1.6 ms for 13 MiB (measured), so most of a turn of the event loop after a burst of large answers has been freed.

    Not by a fixed M_MMAP_THRESHOLD, which maps every large block on its own: measured, copying 1 MiB then takes 0.5 ms
    instead of 0.02. No-op without glibc.
    """
    if _trim is not None:
        _trim(0)
