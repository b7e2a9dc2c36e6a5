"""What an attack is, and what it may use: the addresses of the cluster, a time, and a place for its findings."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SOURCE: Final = "127.0.0.2"
"""Attackers connect from this address and the victim from 127.0.0.1, so that shares per address are told apart."""


@dataclass(frozen=True, slots=True)
class Address:
    """A listener of one member."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(slots=True)
class Field:
    """The cluster as an attacker sees it, and what the attack has found."""

    clients: tuple[Address, ...]
    """The client ports of the members."""
    metrics: tuple[Address, ...]
    peers: tuple[Address, ...]
    state: Path
    """The cluster's folder: its owner may read it, and the attack on a full disk fills the disks below it."""
    seconds: float
    answers: Counter[str] = field(default_factory=Counter)
    """How many answers there were, by status code or by what came instead."""
    broken: list[str] = field(default_factory=list)
    """Answers that must not be given, one sentence each."""
    _ends: float = 0.0

    def begin(self) -> None:
        """Start the time of the attack."""
        self._ends = time.monotonic() + self.seconds

    def remaining(self) -> float:
        """Return the seconds that are left; 0 when the attack is over."""
        return max(0.0, self._ends - time.monotonic())

    def count(self, answer: object) -> None:
        """Count an answer."""
        self.answers[str(answer)] += 1

    async def wait(self) -> None:
        """Return at the end of the attack."""
        await asyncio.sleep(self.remaining())


Step = Callable[[Field], Awaitable[None]]


async def nothing(_: Field) -> None:
    """The preparation of an attack that needs none."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `prepare` runs before the victim is measured, `run` until the time is over."""

    name: str
    summary: str
    run: Step
    prepare: Step = nothing
    read_only: bool = False
    """Whether writes of the victim are expected to be refused meanwhile; reads and deletes must work."""
