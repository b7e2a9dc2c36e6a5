"""Base struct, field types and quantities of the resource.

Every pattern has the same meaning in RE2 (the API server) and in Python: no lookahead, no backreference.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta

QUANTITY_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
SIZE_PATTERN: Final = r"^[1-9][0-9]*(k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"
_UNITS: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15} | {
    f"{letter}i": 1 << 10 * power for power, letter in enumerate("KMGTP", start=1)
}

_DNS: Final = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
SUBDOMAIN_PATTERN: Final = rf"^{_DNS}(\.{_DNS})*$"
_WORD: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
LABEL_KEY_PATTERN: Final = rf"^({_DNS}(\.{_DNS})*/)?{_WORD}$"
LABEL_VALUE_PATTERN: Final = rf"^({_WORD})?$"
VARIABLE_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"


class Part(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, repr_omit_defaults=True
):
    """A part of the spec: immutable, camelCase in YAML, unknown fields are errors."""


Quantity: TypeAlias = (
    Annotated[str, Meta(pattern=QUANTITY_PATTERN, max_length=32, title="a quantity such as 500m or 2Gi")]
    | Annotated[int, Meta(ge=0, le=1 << 50)]
)
Name: TypeAlias = Annotated[
    str, Meta(pattern=SUBDOMAIN_PATTERN, max_length=253, title="a name of a-z, 0-9, '-' and '.', such as my-name")
]
"""The name of another object."""
LabelKey: TypeAlias = Annotated[
    str,
    Meta(pattern=LABEL_KEY_PATTERN, min_length=1, max_length=317, title="a key such as example.com/team"),
]
LabelValue: TypeAlias = Annotated[
    str, Meta(pattern=LABEL_VALUE_PATTERN, max_length=63, title="at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'")
]
Labels: TypeAlias = Annotated[dict[LabelKey, LabelValue], Meta(max_length=32)]

Policy: TypeAlias = Literal["Required", "Preferred", "Disabled"]


def unique_by(*keys: str) -> dict[str, object]:
    """Return the schema keywords for a list of type `map`: no two items have equal values of `keys`."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def unique() -> dict[str, object]:
    """Return the schema keywords for a list of type `set`: scalars without duplicates."""
    return {"x-kubernetes-list-type": "set"}


def atomic() -> dict[str, object]:
    """Return the schema keywords for a list of type `atomic`, which is only replaced as a whole."""
    return {"x-kubernetes-list-type": "atomic"}


@functools.cache
def fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.structs.FieldInfo, ...]:
    """Return the fields of a struct: to gather them takes longer than to check a resource."""
    return msgspec.structs.fields(kind)


def rendered(value: object) -> Any:
    """Return a part as JSON without absent or empty values; nested parts are kept even if they are empty.

    An empty label selector selects everything, an absent one nothing.
    """
    if isinstance(value, Part):
        found = ((field.encode_name, getattr(value, field.name)) for field in fields_of(type(value)))
        return {name: rendered(one) for name, one in found if one not in (None, (), {})}
    if isinstance(value, tuple):
        return [rendered(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value


def quantity_bytes(quantity: str) -> int:
    """Return a whole quantity such as 10Gi in bytes. Raises ValueError for another form."""
    match = re.fullmatch(r"([0-9]+)([kMGTP]?|[KMGTP]i)", quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a whole quantity of bytes")
    return int(match[1]) * _UNITS[match[2]]


def stored_bytes(quantity: str) -> int:
    """Return a quantity in bytes, rounded down, in any form that the API server may return.

    Raises ValueError for an invalid quantity.
    """
    return int(exact(quantity))


def exact(quantity: str | int) -> Fraction:
    """Return the value of a quantity in any form that the API server may return.

    Raises ValueError for an invalid quantity. Source: Kubernetes API reference, Quantity.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][0-9]+|m|[kMGTPE]?|[KMGTPE]i)", str(quantity))
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity")
    number, suffix = Fraction(match[1]), match[2]
    if suffix == "m":
        return number / 1000
    if suffix[:1] in ("e", "E") and suffix[1:].isdigit():
        return Fraction(f"{match[1]}e{suffix[1:]}")
    return number * {**_UNITS, "E": 10**18, "Ei": 1 << 60}[suffix]
