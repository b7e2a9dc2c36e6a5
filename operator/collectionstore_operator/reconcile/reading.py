"""Where a round of the loop reads from: the newest state, or caches that a watch keeps. ADR 16 says which may be used.

A cache may be late, and what it shows may be gone. So it may say that there is nothing to do, or that something may be
to do; what is done is planned from the newest state.
"""

from __future__ import annotations

import enum
from typing import Protocol


class Reading(enum.Enum):
    """The sources of a round."""

    NEWEST = "Newest"
    """Everything is read from its owner: the API server, the nodes."""
    CACHED = "Cached"
    """Caches answer where they can; nodes are always asked themselves."""


class Source(Protocol):
    """What a runtime reads from."""

    def begin(self, reading: Reading) -> None:
        """Read in this way from now on."""

    @property
    def from_cache(self) -> bool:
        """Whether a cache has answered anything since `begin`."""


class NewestOnly:
    """A source without caches; implements `Source`."""

    from_cache = False

    def begin(self, _reading: Reading) -> None:
        """Do nothing: every read returns the newest state."""
