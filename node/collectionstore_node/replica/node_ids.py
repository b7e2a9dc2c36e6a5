"""How node IDs are written in JSON and logs."""

from __future__ import annotations


def show_id(node_id: int) -> str:
    """Return the form in which ids appear in JSON and logs."""
    return f"{node_id:016x}"
