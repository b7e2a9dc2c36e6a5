"""Whether access control refuses, only says what it would refuse, or is off."""

from __future__ import annotations

import enum


class Mode(enum.StrEnum):
    """The mode of access control, of the whole store."""

    DISABLED = "Disabled"
    """Everyone may do everything."""
    PERMISSIVE = "Permissive"
    """What would be refused is logged and counted, and done."""
    ENFORCED = "Enforced"
    """What is not allowed is refused."""
