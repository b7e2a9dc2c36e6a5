"""What can stop a run before it has an answer."""

from __future__ import annotations


class ObserveFailed(Exception):
    """The run cannot go on; the text says why and what to do."""
