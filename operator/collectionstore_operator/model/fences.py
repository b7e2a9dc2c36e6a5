"""Which members a user has fenced, see `labels.FENCE`. Pure."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import REPLICAS_MAX, Desired

NAME_LENGTH_MAX: Final = 64
"""Characters of a name that are told; no member has more."""


def fenced_members(desired: Desired) -> tuple[str, ...]:
    """Return the names in the annotation, without repetitions, in its order; also names of no member.

    More than a cluster can have members are ignored: an annotation may have 256 KiB.
    """
    words = desired.annotations.get(labels.FENCE, "").replace(",", " ").split(maxsplit=REPLICAS_MAX)
    return tuple(dict.fromkeys(word[:NAME_LENGTH_MAX] for word in words[:REPLICAS_MAX]))


def is_fenced(desired: Desired, member: str) -> bool:
    """Return whether the member of this name is to be kept from running."""
    return member in fenced_members(desired)
