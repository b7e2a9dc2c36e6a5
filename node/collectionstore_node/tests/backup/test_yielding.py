"""How the backup program leaves processors to members: offers behind each piece, rests when it had to wait."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from collectionstore_node.backup.parts import PIECE_BYTES, load_part, store_part
from collectionstore_node.backup.priority import NICENESS
from collectionstore_node.backup.yielding import BUSY_RATE, WAITED, Yielding, waited_s


class Machine:
    """A processor for which a thread waits as a test says."""

    def __init__(self) -> None:
        self.waited = 7.0
        self.offers = 0
        self.rests: list[float] = []
        self.yielding = Yielding(lambda: self.waited, self.rests.append, self.offer)

    def offer(self) -> None:
        self.offers += 1


def test_an_idle_machine_is_offered_and_costs_no_rest() -> None:
    machine = Machine()
    for _ in range(10):
        machine.yielding.after(PIECE_BYTES)
    assert machine.offers == 10
    assert machine.rests == []


def test_who_had_to_wait_rests_for_longer_than_that_and_never_below_the_rate() -> None:
    machine = Machine()
    machine.yielding.after(PIECE_BYTES)
    machine.waited += 0.002
    machine.yielding.after(PIECE_BYTES)
    machine.waited += 10.0
    machine.yielding.after(PIECE_BYTES)
    assert machine.rests == [pytest.approx(WAITED * 0.002), PIECE_BYTES / BUSY_RATE]


def test_what_was_waited_for_before_the_first_piece_does_not_count() -> None:
    """A thread of a pool has a past of other work."""
    machine = Machine()
    machine.waited = 3600.0
    machine.yielding.after(PIECE_BYTES)
    assert machine.rests == []


def test_small_reads_are_one_piece_together() -> None:
    """Init: reads of a length, a chunk, and a hash. Check: no rest is cut short because the last of them was small."""
    machine = Machine()
    machine.yielding.after(PIECE_BYTES)
    machine.waited += 10.0
    for size in (4, PIECE_BYTES - 100, 32):
        machine.yielding.after(size)
    assert (machine.offers, machine.rests) == (1, [])
    machine.yielding.after(64)
    assert machine.rests == [PIECE_BYTES / BUSY_RATE]


def test_each_thread_rests_for_itself() -> None:
    machine = Machine()
    machine.yielding.after(PIECE_BYTES)
    machine.waited += 0.001
    other = threading.Thread(target=machine.yielding.after, args=(PIECE_BYTES,))
    other.start()
    other.join()
    assert machine.rests == []
    machine.yielding.after(PIECE_BYTES)
    assert machine.rests == [pytest.approx(WAITED * 0.001)]


def test_the_kernel_tells_how_long_a_thread_waited() -> None:
    """Never less than before; other threads do not count."""
    found = [waited_s() for _ in range(3)]
    assert found == sorted(found)
    assert found[0] >= 0.0


@pytest.mark.parametrize("size", [0, 1, PIECE_BYTES - 1, PIECE_BYTES, 3 * PIECE_BYTES + 5])
def test_a_part_is_compressed_in_pieces_and_every_byte_of_it_is_there(size: int) -> None:
    content = (os.urandom(997) * (size // 997 + 1))[:size]
    seen: list[int] = []
    part, stored = store_part(3, content, "id", None, seen.append)
    assert load_part(3, part, stored, "id", None) == content
    assert part.bytes == size
    assert max(seen, default=0) <= PIECE_BYTES
    assert sum(seen) == size + len(stored), "compressed, and hashed as it is stored"


@pytest.mark.parametrize("own_session", [True, False])
def test_only_a_session_of_its_own_is_slowed_down(*, own_session: bool) -> None:
    """A shell and what else runs in it keep their share of the processors."""
    program = (
        "import os; from collectionstore_node.backup.priority import lower_priority; lower_priority(); "
        "print(os.nice(0), open('/proc/self/autogroup').read() if os.path.exists('/proc/self/autogroup') else '')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, start_new_session=own_session
    )
    niceness, _, group = done.stdout.strip().partition(" ")
    assert int(niceness) == min(19, os.nice(0) + NICENESS)
    if group:
        assert group.endswith(f"nice {NICENESS}") == own_session, group


def test_what_reads_a_cluster_brings_no_node_along() -> None:
    """The replay of a log does: the other commands start in half the time without it."""
    program = (
        "import sys; from collectionstore_node.backup import cli; print('collectionstore_node.replica' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
