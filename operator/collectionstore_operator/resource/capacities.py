"""Rules for quantities: memory and volumes in whole bytes, volumes of a usable size, limits not below requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from collectionstore_operator.resource.fields import exact
from collectionstore_operator.resource.spec import Resources, Storage
from collectionstore_operator.resource.violation import Violation

SIZE_MIN: Final = "64Mi"
"""The smallest volume, for tests: an empty member fits. Data need more: docs/operate/kubernetes.md."""
_IN_BYTES: Final = ("memory", "ephemeral-storage")

WHOLE: Final = Violation(
    "memory and ephemeral-storage are whole numbers of bytes; the suffix m means thousandths", "such as 512Mi or 2Gi"
)
ORDERED: Final = Violation(
    "a limit is below its request: no pod with it can be created", "limits of at least the requests, or none"
)
LARGE: Final = Violation("the volume is smaller than what an empty member needs", f"at least {SIZE_MIN}")

_AMOUNT: Final = "quantity(string(self.%s[%s]))"


def whole_cel(field: str) -> str:
    """Return the CEL expression that holds if memory in `field`, `requests` or `limits`, is in whole bytes."""
    one = " && ".join(
        f"(!({name!r} in self.{field}) || {_AMOUNT % (field, repr(name))}.isInteger())" for name in _IN_BYTES
    )
    return f"!has(self.{field}) || ({one})"


ORDERED_CEL: Final = (
    "!has(self.limits) || !has(self.requests) || ["
    + ", ".join(repr(name) for name in ("cpu", *_IN_BYTES))
    + "].all(name, !(name in self.limits) || !(name in self.requests) || "
    + f"{_AMOUNT % ('limits', 'name')}.compareTo({_AMOUNT % ('requests', 'name')}) >= 0)"
)
LARGE_CEL: Final = f"quantity(self.size).compareTo(quantity({SIZE_MIN!r})) >= 0"


def whole(amounts: Callable[[Resources], Mapping[str, str | int]]) -> Callable[[Resources], Violation | None]:
    """Return the rule for the requests or the limits."""

    def check(resources: Resources) -> Violation | None:
        found = (exact(one) for name, one in amounts(resources).items() if name in _IN_BYTES)
        return WHOLE if any(one.denominator != 1 for one in found) else None

    return check


def ordered(resources: Resources) -> Violation | None:
    """Return a violation if a limit is below its request."""
    limits: Mapping[str, str | int] = resources.limits
    requests: Mapping[str, str | int] = resources.requests
    below = any(exact(limits[name]) < exact(one) for name, one in requests.items() if name in limits)
    return ORDERED if below else None


def large(storage: Storage) -> Violation | None:
    """Return a violation if the volume is smaller than SIZE_MIN."""
    return LARGE if exact(storage.size) < exact(SIZE_MIN) else None
