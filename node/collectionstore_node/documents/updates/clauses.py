"""The form of an operator's part: what is done at one path."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import msgspec

from collectionstore_node.documents.updates.budget import Budget
from collectionstore_node.documents.updates.places import Place, Target
from collectionstore_node.documents.values import Value


class Moment(msgspec.Struct, frozen=True):
    """What an operator may know besides the document."""

    budget: Budget
    time_ms: int
    """The time of day, in milliseconds since 1970 UTC."""
    inserted: bool
    """Whether the document is new."""


Act: TypeAlias = Callable[[Target, Moment], None]
"""Changes one place. Raises `Failed`."""


class Clause(msgspec.Struct, frozen=True):
    """One path of one operator."""

    pointer: str
    """Where it is in the body."""
    place: Place
    act: Act
    create: bool
    """Whether objects are made on the way to the place."""
    needs: str
    """What the operator takes, for the message when a document has something else."""
    only_insert: bool = False
    """Whether it does something only when the document is new."""


class Rename(msgspec.Struct, frozen=True):
    """A field that is moved."""

    pointer: str
    source: tuple[str, ...]
    target: tuple[str, ...]
    needs: str = "$rename takes fields of objects; neither path leads through an array or another value"


class Operand(msgspec.Struct, frozen=True):
    """A value of an update, with what was computed of it once."""

    value: Value
    size_bytes: int
    depth: int
