"""What a report is made of: an item is a path in the archive and a way to get its bytes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

ITEM_BYTES_MAX: Final = 32 << 20
LOG_BYTES_MAX: Final = 16 << 20
"""Of each log: its end."""

Shape = Literal["json", "lines", "text"]
"""How it is redacted: one JSON value, lines that may be JSON, or text."""


class NotHad(Exception):
    """An item cannot be had; the text says why, for people."""


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the report. `source` says where it comes from; `get` raises NotHad."""

    path: str
    source: str
    shape: Shape
    get: Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Subject:
    """A cluster to report on, and everything that is to be gathered of it."""

    name: str
    place: Literal["local", "kubernetes"]
    items: Sequence[Item]
    known_secrets: Sequence[str] = ()
