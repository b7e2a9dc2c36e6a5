"""Polls for conditions of machines and components."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from collectionstore_e2e.kube.errors import ComponentFailed

POLL_S: Final = 0.1


def wait_until(
    condition: Callable[[], bool], *, what: str, timeout_s: float, clue: Callable[[], str] = lambda: ""
) -> None:
    """Return when `condition` holds; raises `ComponentFailed` with `what` and the `clue` after the timeout.

    For the kernel and for starting components, which offer no notification to wait for.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ComponentFailed(f"{what}: not within {timeout_s:.0f} s\n{clue()}".rstrip())
        time.sleep(POLL_S)
