"""The allocator of the C library, which keeps what is freed.

Blocks of a memtable that are cut from the heap have objects that live longer between them. So a node that has dropped
some memtables would hold tens of MiB that nothing uses, in pieces that its next ones may not fit. `map_large_blocks`
keeps such blocks out of the heap, and `give_back` returns what smaller ones leave in it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Final

GIVE_BACK_S: Final = 15.0
"""How often to call `give_back`. It takes some milliseconds of processor time, and what is given back and needed again
costs a page fault per 4 KiB: together less than a thousandth of a processor."""

MAPPED_BYTES: Final = 2 << 20
"""From this size on a block is mapped on its own, and gone when it is freed."""
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3

_mallopt: Final[Callable[[int, int], int] | None] = getattr(ctypes.CDLL(None), "mallopt", None)
_trim: Final[Callable[[int], int] | None] = getattr(ctypes.CDLL(None), "malloc_trim", None)


def map_large_blocks(document_bytes_max: int) -> None:
    """Keep blocks of `MAPPED_BYTES` and more, and of twice a document, out of the heap, for the whole process.

    By default glibc maps them too, until the first one is freed: from then on it cuts all of up to that size from the
    heap, and a node frees memtables. Not documents: copying one of 1 MiB into fresh memory takes 0.5 ms instead of 0.02
    (measured), of page faults. No-op without glibc.
    """
    if _mallopt is not None:
        mapped = max(MAPPED_BYTES, 2 * document_bytes_max)
        _mallopt(_M_MMAP_THRESHOLD, mapped)
        # How much may be free at the end of the heap. By default it is twice the other bound while glibc moves that,
        # and 128 KiB when it is set: the heap would shrink and grow with every request of some size.
        _mallopt(_M_TRIM_THRESHOLD, 2 * mapped)


def give_back() -> None:
    """Give whole pages of freed memory back to the system. For a thread: another one that allocates may wait for it.

    1.6 ms for 13 MiB (measured), so most of a turn of the event loop after a burst of large answers has been freed.
    No-op without glibc.
    """
    if _trim is not None:
        _trim(0)
