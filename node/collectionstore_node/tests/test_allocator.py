"""Memory that is freed goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

import pytest

from collectionstore_node import allocator
from collectionstore_node.allocator import MAPPED_BYTES, give_back, map_large_blocks

BLOCKS: Final = 64
MIB: Final = 1 << 20

MALLOC: Final = """
import ctypes
from collectionstore_node.allocator import MAPPED_BYTES, give_back, map_large_blocks

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
"""

PROGRAM: Final = f"""
{MALLOC}
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


LARGE_BLOCKS: Final = (
    """
import sys
{MALLOC}
if sys.argv[1] == "mapped":
    map_large_blocks({MIB})
size = MAPPED_BYTES
libc.free(libc.malloc(16 * {MIB}))
blocks = [libc.malloc(size) for _ in range({BLOCKS})]
for block in blocks:
    ctypes.memset(block, 1, size)
full = resident()
for block in blocks[:-1]:
    libc.free(block)
print(full - resident())
""".replace("{MALLOC}", MALLOC)
    .replace("{MIB}", str(MIB))
    .replace("{BLOCKS}", str(BLOCKS))
)


@pytest.mark.skipif(sys.platform != "linux", reason="a function of glibc")
def test_large_block_is_gone_when_it_is_freed() -> None:
    """Also below a younger one, and after one was freed, which by default moves the bound."""
    given_back = {}
    for how in ("mapped", "by default"):
        command = [sys.executable, "-c", LARGE_BLOCKS, how]
        given_back[how] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert given_back["by default"] < BLOCKS // 2 * MAPPED_BYTES < given_back["mapped"]


def test_blocks_of_a_document_stay_in_the_heap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its largest size is set to; the heap may keep more than one such block at its end."""
    options: dict[int, int] = {}
    monkeypatch.setattr(allocator, "_mallopt", options.__setitem__)
    map_large_blocks(1 << 10)
    assert options == {-3: MAPPED_BYTES, -1: 2 * MAPPED_BYTES}
    map_large_blocks(16 * MIB)
    assert options == {-3: 32 * MIB, -1: 64 * MIB}


@pytest.mark.skipif(sys.platform != "linux", reason="a function of glibc")
def test_what_is_freed_below_a_younger_block_is_given_back() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    by_itself, given_back = map(int, ended.stdout.split())
    assert by_itself < BLOCKS // 2 * MIB, "glibc gives it back by itself: nothing is to be done"
    assert given_back > BLOCKS // 2 * MIB


def test_another_c_library_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_trim", None)
    monkeypatch.setattr(allocator, "_mallopt", None)
    give_back()
    map_large_blocks(MIB)
