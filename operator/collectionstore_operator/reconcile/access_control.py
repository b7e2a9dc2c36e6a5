"""The configuration of access control of one cluster: what its members say of it, and how it is replaced.

It is asked for once in a while, and after each change of it or of the resource: a round at rest costs no request for
it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from collectionstore_operator.errors import ActionRefused
from collectionstore_operator.model.access_seen import AccessSeen
from collectionstore_operator.model.observed import NodeStatus, Pod, Slot, Unknown
from collectionstore_operator.reconcile.access_client import AccessClient
from collectionstore_operator.reconcile.node_client import NodeClient
from collectionstore_operator.resource.access_control import Access
from collectionstore_operator.resource.desired import Desired

KEPT_S: Final = 15.0


class AccessControl:
    """Of one cluster; belongs to its loop."""

    def __init__(self, client: NodeClient, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._known: AccessSeen | None = None
        self._asked_for: Access | None = None
        self._until = 0.0
        self._urls: tuple[str, ...] = ()

    async def look(self, desired: Desired, slots: Iterable[Slot], cluster_id: str) -> AccessSeen | Unknown:
        """Return the configuration, at most KEPT_S old; Unknown while no member of the cluster responds."""
        self._urls = tuple(_urls(slots, cluster_id))
        if not self._urls:
            return Unknown("no member responds")
        if self._known is not None and self._clock() < self._until and self._asked_for == desired.spec.access:
            return self._known
        found = await AccessClient(self._client, self._urls).access()
        self._known = found if isinstance(found, AccessSeen) else None
        self._asked_for, self._until = desired.spec.access, self._clock() + KEPT_S
        return found

    async def configure(self, config: str) -> None:
        """Replace the configuration. Raises ActionRefused or ActionUnfinished."""
        if not self._urls:
            raise ActionRefused("no member responds")
        self._known = None  # whatever becomes of it
        await AccessClient(self._client, self._urls).configure(config)


def _urls(slots: Iterable[Slot], cluster_id: str) -> list[str]:
    """Return the base URLs of members that respond, the leader first."""
    found = []
    for slot in slots:
        node, pod = slot.node, slot.pod
        if not isinstance(node, NodeStatus) or not isinstance(pod, Pod):
            continue
        if (node.cluster_id, node.state) == (cluster_id, "Member") and pod.http_address:
            found.append((node.role != "Leader", slot.ordinal, pod.http_address))
    return [url for _, _, url in sorted(found)]
