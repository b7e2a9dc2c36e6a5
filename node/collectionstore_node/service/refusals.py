"""`Refusals`: what was refused for rights, or would be if access control were enforced: counted, and told in logs.

A line says who, which verb and which resource, and nothing of what is there. The same one is told once in a while, and
of so many different ones: a client that is refused again and again fills no disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

import structlog

from collectionstore_node.errors import Forbidden

TOLD_S: Final = 60.0
"""How long the same refusal is not told again."""
TOLD_MAX: Final = 256
"""Different refusals that are told in that time."""

log = structlog.get_logger()


class Refusals:
    """Those of one member. Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` is monotonic, in seconds."""
        self._clock = clock
        self._began = clock()
        self._told: set[tuple[str, str, str, str, bool]] = set()
        self.counts: Counter[tuple[str, bool]] = Counter()
        """By verb, and whether it was done all the same."""

    def note(self, error: Forbidden, user: str, *, permitted: bool) -> None:
        """Count a refusal; `permitted` if it was done all the same, as access control is permissive."""
        self.counts[error.verb, permitted] += 1
        now = self._clock()
        if now - self._began >= TOLD_S:
            self._began = now
            self._told.clear()
        key = (user, error.verb, error.kind, error.name, permitted)
        if key in self._told or len(self._told) >= TOLD_MAX:
            return
        self._told.add(key)
        log.info(
            "access.refused", user=user, verb=error.verb, resource=error.kind, name=error.name, permitted=permitted
        )
