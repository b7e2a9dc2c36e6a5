"""Memory that is freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from collectionstore_node import allocator
from collectionstore_node.allocator import give_back

BLOCKS: Final = 64
MIB: Final = 1 << 20

PROGRAM: Final = f"""
import ctypes
from collectionstore_node.allocator import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
# As a memtable that is dropped: from here on glibc cuts blocks of this size from the heap.
libc.free(libc.malloc(16 * {MIB}))
blocks = [libc.malloc({MIB}) for _ in range({BLOCKS})]
for block in blocks:
    ctypes.memset(block, 1, {MIB})
full = resident()
for block in blocks[:-1]:
    libc.free(block)
kept = resident()
give_back()
print(full - kept, kept - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a function of glibc")
def test_what_is_freed_below_a_younger_block_is_given_back() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    by_itself, given_back = map(int, ended.stdout.split())
    assert by_itself < BLOCKS // 2 * MIB, "glibc gives it back by itself: nothing is to be done"
    assert given_back > BLOCKS // 2 * MIB


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_trim", None)
    give_back()
