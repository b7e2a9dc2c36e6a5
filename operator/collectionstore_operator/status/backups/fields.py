"""What the statuses of backups and of schedules have in common."""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from collectionstore_operator.resource.fields import unique_by
from collectionstore_operator.status.report import Condition


class StatusPart(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A status, camelCase in JSON."""


ObservedGeneration: TypeAlias = Annotated[
    int, Meta(ge=0, description="observedGeneration is the metadata.generation that the status was computed from.")
]
Conditions: TypeAlias = Annotated[
    tuple[Condition, ...],
    Meta(max_length=8, description="conditions are the current conditions.", extra_json_schema=unique_by("type")),
]
Count: TypeAlias = Annotated[int, Meta(ge=0)]
