"""`Sink`: where records go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from collectionstore_node.audit.chain import Position
from collectionstore_node.audit.events import Entry


class SinkFailed(Exception):
    """The sink has not taken a batch, as far as is known. The text says why, without a secret and without content."""


class Sink(Protocol):
    """Takes records in order, one batch at a time, and chains them."""

    linger_s: float
    """How long records are gathered before a batch is sent."""

    @property
    def position(self) -> Position:
        """Where its chain stands behind what it has taken."""

    async def send(self, entries: Sequence[Entry]) -> None:
        """Take a batch. Raises `SinkFailed`: then it is sent again, and becomes the same lines."""

    async def close(self) -> None:
        """Give back what the sink holds."""
