"""The error for a data directory whose content is not what was written."""

from __future__ import annotations

from collectionstore_node.errors import DataDirectoryRefused


class Corrupted(DataDirectoryRefused):
    """Data was lost or altered. The text is a sentence; `Database.open` adds the directory and what to do."""
