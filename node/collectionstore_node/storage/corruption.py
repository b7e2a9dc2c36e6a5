"""The finding that what is on disk is not what was put there."""

from __future__ import annotations

from collectionstore_node.errors import DataDirectoryRefused


class Corrupted(DataDirectoryRefused):
    """Says what was found, as a sentence; `Database.open` adds where it is and what to do about it."""
