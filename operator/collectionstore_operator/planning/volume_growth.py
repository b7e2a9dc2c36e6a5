"""The size that the volumes of a cluster are to have: that of the spec, or a larger one that `growth` permits. Pure.

Nothing is stored beside the claims: the largest request of a member is the size that all are to have, so an operator
that ends between two of them goes on with the same size. A next step is taken only when every volume has the size of
the one before, by what a member has free then; so a round that sees an old report takes no step twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from collectionstore_operator.model.assessment import Assessment, responding_node
from collectionstore_operator.model.observed import NodeStatus, Volume
from collectionstore_operator.resource.fields import quantity_bytes
from collectionstore_operator.resource.storage import Growth

MIB: Final = 1 << 20
GIB: Final = 1 << 30
WHOLE_GIB: Final = 10 * GIB
"""Steps from here on are whole Gi: storage systems round up to that anyway."""


class Target(NamedTuple):
    """The size that every volume is to have."""

    size: str
    """Quantity, as it is requested."""
    reason: str

    @property
    def bytes(self) -> int:
        """Return the size in bytes."""
        return quantity_bytes(self.size)


class _Held(NamedTuple):
    """A volume, and what is known of the member on it."""

    name: str
    volume: Volume
    node: NodeStatus | None


def target(assessment: Assessment) -> Target:
    """Return the size that every volume is to have, and why."""
    storage = assessment.desired.spec.storage
    given = Target(storage.size, f"spec.storage.size is {storage.size}")
    growth = storage.growth
    if growth is None:
        return given
    held = tuple(_volumes(assessment))
    reached = given
    for one in held:
        size = min(one.volume.size_bytes or 0, growth.max_bytes)
        if size > reached.bytes:
            # BEFORE the next step: all volumes are to have what one has.
            reached = Target(_quantity(size, growth), f"spec.storage.growth: the volume of {one.name} has grown")
    # A claim that is not bound holds nothing, so nothing of it is full; it would hold the others for as long as its pod
    # cannot be scheduled.
    if reached.bytes >= growth.max_bytes or any(0 < one.volume.capacity_bytes < reached.bytes for one in held):
        return reached
    for one in held:
        if is_short(one.volume, one.node, growth):
            size = reached.bytes + reached.bytes * growth.step_percent // 100
            reason = f"spec.storage.growth: less than {growth.when_free_percent} % is free on the volume of {one.name}"
            return Target(_quantity(size, growth), reason)
    return reached


def is_short(volume: Volume, node: NodeStatus | None, growth: Growth) -> bool:
    """Return whether a member reports less free space, above its reserve, than its volume is to have.

    A member that was not asked, or has not measured yet, is not short.
    """
    if node is None or node.space is None or node.space.free_bytes is None or not node.space.used_bytes:
        return False
    return 100 * node.space.free_bytes < growth.when_free_percent * volume.capacity_bytes


def _volumes(assessment: Assessment) -> Iterator[_Held]:
    for slot in assessment.slots():
        volume = slot.volume
        if isinstance(volume, Volume) and not volume.removed and volume.size_bytes is not None:
            node = responding_node(slot, assessment.observed.cluster_id)
            yield _Held(assessment.name(slot.ordinal), volume, node)


def _quantity(size: int, growth: Growth) -> str:
    """Return a size as a quantity in whole Mi or Gi, rounded up, and no more than the greatest one."""
    unit, name = (GIB, "Gi") if size >= WHOLE_GIB else (MIB, "Mi")
    rounded = -(-size // unit)
    return growth.max_size if rounded * unit >= growth.max_bytes else f"{rounded}{name}"
