"""What one process of a soak does: run some seeds, one after the other, and count what comes out."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import Final

from collectionstore_node.tests.soak.layers import Layer
from collectionstore_node.tests.soak.tally import Failure, Tally

SEED_CPU_S: Final = 120.0
"""A seed takes a fraction of a second of processor time, or a few; one that takes this much does not end."""


class DoesNotEnd(Exception):
    """A seed took far more processor time than any should."""


def run_seeds(layer: Layer, first: int, last: int) -> Tally:
    """Run the seeds `[first, last)`. Whatever a seed raises is counted as its failure."""
    run = layer.load()
    tally = Tally()
    with _time_limit():
        for seed in range(first, last):
            signal.setitimer(signal.ITIMER_VIRTUAL, SEED_CPU_S)
            try:
                tally.add(run(seed))
            except Exception as error:  # a seed may fail in any way; every one is shown
                line = " ".join(f"{type(error).__name__}: {error}".split())
                tally.failed(Failure(seed, line, traceback.format_exc()))
    return tally


def end_with_parent() -> None:
    """Let this process end as soon as the one that started it does, however that ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)  # in the middle of a seed, whose result is no longer needed


@contextmanager
def _time_limit() -> Iterator[None]:
    before = signal.signal(signal.SIGVTALRM, _give_up)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def _give_up(_signal: int, _frame: FrameType | None) -> None:
    raise DoesNotEnd(f"no end after {SEED_CPU_S:.0f} s of processor time")
