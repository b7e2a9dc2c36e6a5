"""Why an update cannot be applied to a document, although it is well-formed."""

from __future__ import annotations

import enum


class Reason(enum.Enum):
    """What is wrong between a part of an update and the document."""

    TYPE = "type"
    """A value has another type than the operator takes, or is in the way of a path."""
    PATH = "path"
    """There is nothing at the path, and nothing can be made there."""
    RANGE = "range"
    """A number leaves 64 bits, or is not finite."""
    CONFLICT = "conflict"
    """Two parts change the same place."""
    TEST = "test"
    """A test of a JSON Patch does not hold."""
    SIZE = "size"
    """The new document would be too large, or too deep."""
    COST = "cost"
    """It takes more steps than an update may."""


class Failed(Exception):
    """The update cannot be applied; the document stays as it is. `position` is the part at fault, if it is one."""

    def __init__(self, reason: Reason, position: int | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.position = position
