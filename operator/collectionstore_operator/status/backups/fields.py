"""What the statuses of backups and of schedules have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from collectionstore_operator.resource.fields import unique_by
from collectionstore_operator.status.published import Condition

ObservedGeneration: TypeAlias = Annotated[
    int, Meta(ge=0, description="observedGeneration is the metadata.generation that the status was computed from.")
]
Conditions: TypeAlias = Annotated[
    tuple[Condition, ...],
    Meta(max_length=8, description="conditions are the current conditions.", extra_json_schema=unique_by("type")),
]
Count: TypeAlias = Annotated[int, Meta(ge=0)]


class StatusPart(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A status, camelCase in JSON."""

    observed_generation: ObservedGeneration = 0
    conditions: Conditions = ()

    def condition(self, kind: str) -> Condition | None:
        """Return a condition by its type."""
        return next((one for one in self.conditions if one.type == kind), None)


S = TypeVar("S", bound=StatusPart)


def read_status(body: Mapping[str, Any], kind: type[S]) -> S | None:
    """Return the status that was published last; None without one, or if another version wrote it unreadably."""
    try:
        return msgspec.convert(body["status"], kind) if body.get("status") else None
    except msgspec.ValidationError:
        return None
