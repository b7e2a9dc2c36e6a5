"""What a store has to offer to be measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

LEADER: Final = "leader"


@dataclass(frozen=True, slots=True)
class Located:
    """The running nodes: base URLs for clients, the leader first, and process IDs by node name."""

    urls: Sequence[str]
    leader: str
    pids: Mapping[str, int]


class Store(Protocol):
    """A running cluster of three nodes with mutual TLS between them."""

    @property
    def name(self) -> str:
        """What the tables call it."""

    @property
    def version(self) -> str:
        """What was built or installed."""

    async def locate(self) -> Located:
        """Return the nodes. Raises ClusterFailed when no node leads."""

    async def fill(self, size: int) -> None:
        """Write every document of `size` bytes once."""

    async def tidy(self) -> None:
        """Do between turns what an installation does in regular intervals; it is not measured."""
