"""Is there an order of these operations, compatible with time, that explains every answer?

Wing and Gong's search (1993) with Lowe's memory of (what was done, state) pairs (2017), as Porcupine does it: take the
operations that may come first, try one, go on, go back. A pair that was tried before needs no second try.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from math import inf

from collectionstore_testkit.histories.model import ABSENT, Revisions, run
from collectionstore_testkit.histories.operations import Operation


class Found(enum.Enum):
    """What a search came to."""

    ORDER = "an order exists"
    NONE = "no order exists"
    UNDECIDED = "the bound was reached first"


def find_order(operations: Sequence[Operation], revisions: Revisions, steps_max: int) -> tuple[Found, list[Operation]]:
    """Search; return the order found, or the longest that explains a beginning.

    `operations` hold no failed ones. Unknown ones may take effect at any time after they began, or never. `steps_max`
    bounds the operations tried.
    """
    pending = sorted(operations, key=lambda one: (one.invoked, one.id))
    invoked = [one.invoked for one in pending]
    returned = [inf if one.outcome != "ok" or one.returned is None else one.returned for one in pending]
    needed = sum(1 << position for position, end in enumerate(returned) if end != inf)
    keys = sorted({key for one in pending for key in one.keys})
    start = tuple(ABSENT for _ in keys)

    tried: set[tuple[int, tuple[str, ...]]] = set()
    longest: list[int] = []
    order: list[int] = []
    # Each frame: what was done, the state, and the candidates not tried yet.
    stack = [(0, start, _candidates(0, invoked, returned))]
    steps = 0
    while stack:
        done, state, candidates = stack[-1]
        if done & needed == needed:
            return Found.ORDER, [pending[position] for position in order]
        if not candidates:
            stack.pop()
            if order:
                order.pop()
            continue
        position = candidates.pop()
        steps += 1
        if steps > steps_max:
            return Found.UNDECIDED, [pending[one] for one in longest]
        fits, changes = run(pending[position], dict(zip(keys, state, strict=True)), revisions)
        if not fits:
            continue
        after = tuple(changes.get(key, value) for key, value in zip(keys, state, strict=True)) if changes else state
        now_done = done | 1 << position
        if (now_done, after) in tried:
            continue
        tried.add((now_done, after))
        order.append(position)
        if len(order) > len(longest):
            longest = list(order)
        stack.append((now_done, after, _candidates(now_done, invoked, returned)))
    return Found.NONE, [pending[one] for one in longest]


def _candidates(done: int, invoked: list[float], returned: list[float]) -> list[int]:
    """Return who may come next: those that began before the first of the open ones ended. The best guess is last."""
    limit = inf
    found = []
    for position, began in enumerate(invoked):
        if began > limit:
            break
        if not done >> position & 1:
            found.append(position)
            limit = min(limit, returned[position])
    # The operation that ended first probably took effect first; what may never have happened is tried last.
    return sorted((one for one in found if invoked[one] <= limit), key=lambda one: -returned[one])
