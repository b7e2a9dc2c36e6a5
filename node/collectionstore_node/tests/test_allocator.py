"""Memory that is freed goes back to the system."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from typing import Final

import pytest

from collectionstore_node.allocator import limit_fragmentation

BLOCKS: Final = 64
MIB: Final = 1 << 20

PROGRAM: Final = f"""
import ctypes, gc, sys
from collectionstore_node.allocator import limit_fragmentation

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

if sys.argv[1] == "limited":
    assert limit_fragmentation()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
# As a memtable that is dropped: from here on an unlimited glibc cuts blocks of this size from the heap.
libc.free(libc.malloc(16 * {MIB}))
blocks = [libc.malloc({MIB}) for _ in range({BLOCKS})]
for block in blocks:
    ctypes.memset(block, 1, {MIB})
full = resident()
for block in blocks[:-1]:
    libc.free(block)
print(full - resident())
"""


def _given_back(how: str) -> int:
    """Return how many bytes a process gives back when it frees all blocks but the last."""
    ended = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
    return int(ended.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_blocks_that_are_freed_before_a_younger_one_are_given_back() -> None:
    assert _given_back("limited") > (BLOCKS - 2) * MIB
    assert _given_back("as it is") < BLOCKS // 2 * MIB


def test_environment_has_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    class Libc:
        def mallopt(self, number: int, value: int) -> int:
            made.append((number, value))
            return 1

    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Libc())
    assert limit_fragmentation({"MALLOC_MMAP_THRESHOLD_": "131072"})
    assert made == [(-8, 2)]


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    assert not limit_fragmentation({})
