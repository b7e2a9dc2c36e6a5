"""JSON pointers (RFC 6901): where in a body something is wrong."""

from __future__ import annotations


def child(pointer: str, name: str | int) -> str:
    """Return the pointer of the member or element `name` of what `pointer` names."""
    return f"{pointer}/{name}" if isinstance(name, int) else f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
