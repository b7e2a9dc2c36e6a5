"""Format numbers of the data directory and of snapshot files: one for each feature level.

A program refuses a number that it does not know, so that none misreads data of a level that it does not support.
"""

from __future__ import annotations

from typing import Final

from collectionstore_node.statemachine.levels import FIRST, HIGHEST

FORMAT: Final = 2
"""Format of a new data directory, and of the files of level 1. Incremented when an earlier program could not read them,
or would corrupt them.

2: the state has a digest. A state of format 1 has none, and a digest that starts later than on the other members would
look like a divergence, so format 1 is refused.
"""


def format_of(level: int) -> int:
    """Return the format of data of a feature level."""
    return FORMAT + level - FIRST


def level_of(number: object) -> int | None:
    """Return the feature level of data in a format, or None if this version does not read that."""
    levels = {format_of(level): level for level in range(FIRST, HIGHEST + 1)}
    return levels.get(number) if isinstance(number, int) else None


NEWEST: Final = format_of(HIGHEST)
"""The highest format that this version reads."""
