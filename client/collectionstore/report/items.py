"""What a report consists of: an item is a path in the archive and a function that returns its content."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

ITEM_BYTES_MAX: Final = 32 << 20
LOG_BYTES_MAX: Final = 16 << 20
"""Of each log: its end."""

Shape = Literal["json", "lines", "text"]
"""How an item is redacted: as one JSON value, as lines that may be JSON, or as text."""


class ItemUnavailable(Exception):
    """An item cannot be gathered; the text says why and goes into the manifest."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the report. `source` says where it comes from; `read` raises ItemUnavailable."""

    path: str
    source: str
    shape: Shape
    read: Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class ReportPlan:
    """The items to gather about one cluster, in the order of the archive.

    No text of `known_secrets` may appear in the report, wherever it is.
    """

    cluster: str
    place: Literal["local", "kubernetes"]
    items: Sequence[Item]
    known_secrets: Sequence[str] = ()
