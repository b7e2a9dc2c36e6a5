"""`Overdue`: the connections whose bytes waited so long that what they ask for is refused. Pure.

What waits in front of the parser cannot be refused there, as only the parser tells what it is. So its connection is
marked while the bytes are parsed, and the request that comes of them is refused by whatever serves it.
"""

from __future__ import annotations


class Overdue:
    """Marked connections of one port."""

    __slots__ = ("marked", "refused")

    def __init__(self) -> None:
        self.marked: set[object] = set()
        """To be changed by the methods."""
        self.refused = 0
        """Requests that were refused for it."""

    def __contains__(self, connection: object) -> bool:
        return connection in self.marked

    def mark(self, connection: object) -> None:
        """Have requests of this connection refused, until `forget`."""
        self.marked.add(connection)

    def forget(self, connection: object) -> None:
        """Serve requests of this connection again; nothing if it is not marked."""
        self.marked.discard(connection)

    def count(self) -> None:
        """Count a request that was refused."""
        self.refused += 1
