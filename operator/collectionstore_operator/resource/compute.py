"""The field resources of a spec: processor time and memory of each member."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.fields import Part, Quantity, stored_bytes

ComputeResource: TypeAlias = Literal["cpu", "memory", "ephemeral-storage"]


class Resources(Part, frozen=True):
    """Resources are the compute resources of each member's container."""

    requests: Annotated[
        dict[ComputeResource, Quantity],
        Meta(description="requests is the amount of each resource that the scheduler reserves for a member."),
    ] = field(default_factory=dict)
    limits: Annotated[
        dict[ComputeResource, Quantity],
        Meta(description="limits is the maximum amount of each resource that a member may use."),
    ] = field(default_factory=dict)

    @property
    def memory_limit_bytes(self) -> int | None:
        """Return the memory limit in bytes; None without one."""
        limit = self.limits.get("memory")
        return None if limit is None else stored_bytes(str(limit))


DEFAULT_RESOURCES: Final = Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"})
"""For a resource that sets none: not BestEffort, whose pods are the first to be evicted. No limit of the processor,
which would throttle heartbeats."""
