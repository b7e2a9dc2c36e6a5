"""What may not change once it is set. Only the API server can know: it alone sees the old object beside the new one.

A rule that compares with `oldSelf` is not asked on creation, so that a cluster made anew begins with what it likes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from collectionstore_operator.resource.spec import Storage


class Transition(NamedTuple):
    """A rule about a change; CEL, with what is said when it is broken."""

    field: str
    cel: str
    message: str


TRANSITIONS: Final[Mapping[type, tuple[Transition, ...]]] = {
    Storage: (
        Transition(
            "class",
            "has(self.class) == has(oldSelf.class) && (!has(self.class) || self.class == oldSelf.class)",
            "the volumes that exist cannot move to another class; allowed: the value it has",
        ),
        Transition(
            "size",
            "quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",
            "a volume cannot shrink; allowed: the size it has, or more",
        ),
    ),
}

IDENTITY: Final = (
    Transition(
        "status",
        "!has(oldSelf.status) || !has(oldSelf.status.clusterID) || oldSelf.status.clusterID == '' || "
        "(has(self.status) && has(self.status.clusterID) && self.status.clusterID == oldSelf.status.clusterID)",
        "status.clusterID never changes: every disk and every certificate carries it",
    ),
    Transition(
        "status",
        "!has(oldSelf.status) || !has(oldSelf.status.initialized) || !oldSelf.status.initialized || "
        "(has(self.status) && has(self.status.initialized) && self.status.initialized)",
        "status.initialized is never cleared: a cluster that had data is never formed anew",
    ),
)
"""Of the whole object; a status that is taken away as a whole would slip through rules inside it."""
