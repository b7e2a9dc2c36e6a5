"""Rates of one user: what is asked of a member in a second, and at a time."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

RATE_MAX: Final = 1_000_000_000
STREAMS_MAX: Final = 100_000

Rate = Annotated[int, msgspec.Meta(ge=0, le=RATE_MAX)]


class UserLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Bounds on the requests of one user at each member; 0 for no bound."""

    requests_per_second: Rate = 0
    bytes_per_second: Rate = 0
    streams: Annotated[int, msgspec.Meta(ge=0, le=STREAMS_MAX)] = 0
    """Watches and streams at a time."""


NO_LIMITS: Final = UserLimits()
