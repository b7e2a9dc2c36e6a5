"""Rules for quantities: memory and volumes in whole bytes, volumes of a usable size, limits not below requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from collectionstore_operator.resource.compute import ComputeResource, Resources
from collectionstore_operator.resource.fields import exact
from collectionstore_operator.resource.storage import Storage
from collectionstore_operator.resource.violation import Violation

SIZE_MIN: Final = "64Mi"
"""The smallest volume, for tests: an empty member fits. Data need more: docs/operate/kubernetes.md."""
QUOTA_MIN: Final = "256Mi"
"""Below it the logs of a member, which shrink only with time, could hold the whole quota."""
MEMORY_LIMIT_MIN: Final = "256Mi"
"""A node refuses to start with less."""
_IN_BYTES: Final = ("memory", "ephemeral-storage")

WHOLE: Final = Violation(
    "memory and ephemeral-storage are whole numbers of bytes; the suffix m means thousandths", "such as 512Mi or 2Gi"
)
ORDERED: Final = Violation(
    "a limit is below its request: no pod with it can be created", "limits of at least the requests, or none"
)
LARGE: Final = Violation("the volume is smaller than what an empty member needs", f"at least {SIZE_MIN}")
QUOTA_SMALL: Final = Violation("a member's logs alone could use so small a quota", f"at least {QUOTA_MIN}")
QUOTA_LARGE: Final = Violation("the volume would be full before the quota is reached", "less than spec.storage.size")
GROWTH_SMALL: Final = Violation("the volumes have more from the beginning", "at least spec.storage.size")
MEMORY: Final = Violation("a member does not start with so little memory", f"at least {MEMORY_LIMIT_MIN}")

_ALL: Final = ("cpu", *_IN_BYTES)


def _has(field: str, name: str) -> str:
    return f"has(self.{field}.{_escaped(name)})"


def _amount(field: str, name: str) -> str:
    return f"quantity(string(self.{field}.{_escaped(name)}))"


def _escaped(name: str) -> str:
    """Return a property's name in CEL, where `-` is written `__dash__` (Kubernetes, "Validation rules")."""
    return name.replace("-", "__dash__")


def whole_cel(field: str) -> str:
    """Return the CEL expression that holds if memory in `field`, `requests` or `limits`, is in whole bytes."""
    one = " && ".join(f"(!{_has(field, name)} || {_amount(field, name)}.isInteger())" for name in _IN_BYTES)
    return f"!has(self.{field}) || ({one})"


_ORDERED_EACH: Final = " && ".join(
    f"(!{_has('limits', name)} || !{_has('requests', name)} || "
    f"{_amount('limits', name)}.compareTo({_amount('requests', name)}) >= 0)"
    for name in _ALL
)
ORDERED_CEL: Final = f"!has(self.limits) || !has(self.requests) || ({_ORDERED_EACH})"
LARGE_CEL: Final = f"quantity(self.size).compareTo(quantity({SIZE_MIN!r})) >= 0"
QUOTA_SMALL_CEL: Final = f"!has(self.quota) || quantity(self.quota).compareTo(quantity({QUOTA_MIN!r})) >= 0"
QUOTA_LARGE_CEL: Final = "!has(self.quota) || quantity(self.quota).compareTo(quantity(self.size)) < 0"
GROWTH_SMALL_CEL: Final = "!has(self.growth) || quantity(self.growth.maxSize).compareTo(quantity(self.size)) >= 0"
MEMORY_CEL: Final = (
    f"!has(self.limits) || !{_has('limits', 'memory')} || "
    f"{_amount('limits', 'memory')}.compareTo(quantity({MEMORY_LIMIT_MIN!r})) >= 0"
)


def whole(
    amounts: Callable[[Resources], Mapping[ComputeResource, str | int]],
) -> Callable[[Resources], Violation | None]:
    """Return the rule for the requests or the limits."""

    def check(resources: Resources) -> Violation | None:
        found = (exact(one) for name, one in amounts(resources).items() if name in _IN_BYTES)
        return WHOLE if any(one.denominator != 1 for one in found) else None

    return check


def ordered(resources: Resources) -> Violation | None:
    """Return a violation if a limit is below its request."""
    limits = resources.limits
    below = any(exact(limits[name]) < exact(one) for name, one in resources.requests.items() if name in limits)
    return ORDERED if below else None


def large(storage: Storage) -> Violation | None:
    """Return a violation if the volume is smaller than SIZE_MIN."""
    return LARGE if exact(storage.size) < exact(SIZE_MIN) else None


def quota_small(storage: Storage) -> Violation | None:
    """Return a violation if the quota is smaller than QUOTA_MIN."""
    return QUOTA_SMALL if storage.quota is not None and exact(storage.quota) < exact(QUOTA_MIN) else None


def quota_large(storage: Storage) -> Violation | None:
    """Return a violation unless the quota is smaller than the volume."""
    return QUOTA_LARGE if storage.quota is not None and exact(storage.quota) >= exact(storage.size) else None


def growth_small(storage: Storage) -> Violation | None:
    """Return a violation unless volumes may have the size with which they begin."""
    growth = storage.growth
    return GROWTH_SMALL if growth is not None and exact(growth.max_size) < exact(storage.size) else None


def memory(resources: Resources) -> Violation | None:
    """Return a violation if the memory limit is smaller than MEMORY_LIMIT_MIN."""
    limit = resources.limits.get("memory")
    return MEMORY if limit is not None and exact(limit) < exact(MEMORY_LIMIT_MIN) else None
