"""The result of comparing one member's state with the others'."""

from __future__ import annotations

from typing import Literal

import msgspec


class StateCheck(msgspec.Struct, frozen=True):
    """How a member's state compared with the others' (see `digests`)."""

    result: Literal["Agrees", "Differs", "Disputed", "Inconclusive"]
    """Differs: from a majority. Disputed: no majority agrees. Inconclusive: not comparable for a minute."""
    index: int | None = None
    """Log index of the comparison."""

    @property
    def differs(self) -> bool:
        """Whether the state certainly differs from that of another member."""
        return self.result in ("Differs", "Disputed")
