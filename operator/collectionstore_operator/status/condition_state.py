"""The state of one condition. Pure."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]


class ConditionState(msgspec.Struct, frozen=True):
    """The state of a condition; `reason` is CamelCase, `message` a sentence without a full stop."""

    status: ConditionStatus
    reason: str
    message: str
