"""A process that has no memory left ends, at once, and says so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from collectionstore_node.lifecycle import EXIT_MEMORY

PLACES = {
    "event loop": """
import asyncio
from collectionstore_node.app import _in_loop

async def main():
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_in_loop)
    def fail():
        raise MemoryError
    loop.call_soon(fail)
    await asyncio.sleep(60)

asyncio.run(main())
""",
    "driver": """
import atexit, threading
from collectionstore_node.lifecycle import end_without_memory
from collectionstore_node.errors import OutOfMemory

# What an orderly end would wait for.
threading.Thread(target=threading.Event().wait).start()
end_without_memory("driver", OutOfMemory("entry 7 of term 1"))
""",
}


@pytest.mark.parametrize(("place", "program"), PLACES.items(), ids=PLACES)
def test_process_ends_with_its_own_exit_code(place: str, program: str) -> None:
    """Not in order: threads, ports and executors may hang without memory, and then nobody restarts the process."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == EXIT_MEMORY == 75, done.stderr
    assert "memory.exhausted" in done.stdout + done.stderr
    assert place in done.stdout + done.stderr
