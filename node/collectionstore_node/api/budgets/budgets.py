"""`Budgets`: what the connections of one port share."""

from __future__ import annotations

from dataclasses import dataclass, field

from collectionstore_node.api.budgets.clients import Clients
from collectionstore_node.api.budgets.overdue import Overdue
from collectionstore_node.api.budgets.sending import Sending
from collectionstore_node.api.budgets.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of one port."""

    sending: Sending
    uploads: Uploads
    clients: Clients
    overdue: Overdue = field(default_factory=Overdue)

    def sweep(self, now: float) -> None:
        """End what is too slow; `now` is loop time."""
        self.sending.sweep(now)
        self.uploads.sweep(now)
