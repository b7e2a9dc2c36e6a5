"""What one update may cost: steps, and bytes by which it may grow. Counted alike on every replica.

A step is one visit of a value, about half a microsecond. Bytes are counted BEFORE values are joined: thousands of
elements may share one operand until they are written.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.values import Value

STEPS_MAX: Final = 100_000
BYTES_MAX: Final = 1 << 20
"""The text of a new document, unless the command says otherwise."""
DEPTH_MAX: Final = 100
"""How deep a document may be nested; the document itself counts as 1."""


class Budget:
    """The cost of one update so far."""

    __slots__ = ("_grown", "bytes_max", "read_bytes", "steps", "written_bytes")

    def __init__(self, bytes_max: int = BYTES_MAX) -> None:
        """`bytes_max` is the largest text that the new document may have."""
        self.bytes_max = bytes_max
        self.steps = 0
        self.read_bytes = 0
        """JSON text that was decoded."""
        self.written_bytes = 0
        """JSON text that was written."""
        self._grown = 0

    def step(self, count: int = 1) -> None:
        """Count steps. Raises `Failed`."""
        self.steps += count
        if self.steps > STEPS_MAX:
            raise Failed(Reason.COST)

    def grow(self, size_bytes: int) -> None:
        """Count text that is added. Raises `Failed` for more than even an update that replaces everything needs."""
        self._grown += size_bytes
        # Twice: what it replaces is not subtracted. The exact size is checked when it is known.
        if self._grown > 2 * self.bytes_max:
            raise Failed(Reason.SIZE)

    def weigh(self, value: Value, times: int = 1) -> None:
        """Count `times` visits of every value in `value`. Raises `Failed`."""
        kind = type(value)
        self.step(times)
        if kind is dict:
            for inner in value.values():
                self.weigh(inner, times)
        elif kind is list:
            for inner in value:
                self.weigh(inner, times)


def depth_of(value: Value) -> int:
    """Return how deep `value` is nested; 0 for what is neither an object nor an array."""
    kind = type(value)
    if kind is dict:
        return 1 + max(map(depth_of, value.values()), default=0)
    if kind is list:
        return 1 + max(map(depth_of, value), default=0)
    return 0


def too_deep(value: Value, depth_max: int = DEPTH_MAX) -> bool:
    """Return whether `value` is nested deeper than `depth_max`; without recursion, whose limit differs by place."""
    level: list[Value] = [value]
    for _ in range(depth_max + 1):
        level = [
            inner
            for one in level
            if type(one) is dict or type(one) is list
            for inner in (one.values() if type(one) is dict else one)
            if type(inner) is dict or type(inner) is list
        ]
        if not level:
            return False
    return True
