"""What the members of a cluster say of its access control. Pure."""

from __future__ import annotations

import msgspec


class AccessSeen(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The configuration of access control of a cluster."""

    configured: bool
    """Whether there is one; without one, members do as their own setting says."""
    mode: str = ""
    """In force now."""
    config: str = ""
    """The configuration as canonical JSON text (`configuration.canonical`); empty without one."""
    revision: int = 0
    """Of the last change of access control; 0 before the first."""
    supported: bool = True
    """Whether members know access control, and its commands may be used at their feature level."""
