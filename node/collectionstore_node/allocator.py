"""Settings of the C library's allocator, made once at the start of the process.

glibc raises the size from which it maps a block on its own to that of the largest block that was freed, up to 32 MiB.
The blocks of a memtable, 1 MiB each, are then cut from the heap, and what is freed in its middle stays in the process.
And each thread that finds the heap in use gets an arena of its own, which is never given back as a whole.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from typing import Final

_OPTIONS: Final = (
    # Below the blocks of memtables, above what requests and entries usually take: each mapping costs system calls.
    ("MALLOC_MMAP_THRESHOLD_", -3, 512 << 10),
    # The event loop and one for all other threads, which hardly allocate at the same time: RocksDB's two and the syncs.
    ("MALLOC_ARENA_MAX", -8, 2),
)
"""Name as a variable of the environment, which has precedence; number in malloc.h; value."""


def limit_fragmentation(environment: Mapping[str, str] = os.environ) -> bool:
    """Have freed memory given back to the system; return whether the C library took all settings.

    Call it BEFORE the first thread starts. Another C library than glibc has no such settings, and is left as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(number, value) for name, number, value in _OPTIONS if name not in environment])
