"""Which pods mount the claims of removed members: a claim is deleted only when none does.

Any pod of the namespace may, such as one to look at the data. The operator watches the pods of its clusters alone, so
all of them are listed, and only while a released claim is due.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from collectionstore_operator.kubernetes.api import Kind
from collectionstore_operator.kubernetes.by_name import in_use_by
from collectionstore_operator.kubernetes.caches.reads import Reads
from collectionstore_operator.kubernetes.claims import released_at
from collectionstore_operator.resource.desired import Desired

REMEMBERED_S: Final = 15.0
"""For how long an answer is good enough to say that nothing is to be done. Before a claim is deleted, all pods are read
again."""


class Mounts:
    """Of one cluster; belongs to its loop."""

    def __init__(self, reads: Reads, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._reads = reads
        self._clock = clock
        self._known: dict[str, str] = {}
        self._names: frozenset[str] = frozenset()
        self._until = 0.0

    async def of_due(self, claims: Iterable[Mapping[str, Any]], desired: Desired) -> dict[str, str]:
        """Return which pod mounts which released claim that is due. Raises ApiError."""
        names = frozenset(_due(claims, desired, time.time()))
        if not names:
            return {}
        if self._reads.newest or names != self._names or self._clock() >= self._until:
            pods = await self._reads.find_all(Kind.POD, desired.namespace)
            self._known, self._names = in_use_by(pods, names), names
            self._until = self._clock() + REMEMBERED_S
        else:
            self._reads.from_cache = True
        return self._known


def _due(claims: Iterable[Mapping[str, Any]], desired: Desired, now: float) -> Iterable[str]:
    policy = desired.spec.storage.released_volumes
    if policy is None or policy.policy != "Delete" or desired.group != "voters":
        return  # a volume of a read replica is never kept as that of a removed member
    for claim in claims:
        since = released_at(claim)
        if since and now >= since + (policy.after_seconds or 0):
            yield claim["metadata"]["name"]
