"""Leader election among the processes of one installation of the operator: a Lease.

A holder counts as alive while its Lease changes, measured on this process's own monotonic clock; timestamps written by
others are never compared with it. As in client-go's leader election.

Invariants:
- the epoch rises with every takeover: it tells a holder from an earlier process of the same identity. Nodes do not see
  it; what they check is the epoch of a cluster (`tenure`);
- an identity names one process at a time: a pod's name, or the host name with the process ID;
- an epoch is never below the Unix second of its takeover, so it rises even after the Lease was deleted;
- a leader that could not renew for RENEW_DEADLINE_S stops acting BEFORE another may take over (LEASE_S).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from collectionstore_operator.kubernetes.api import lease_object
from collectionstore_operator.kubernetes.api.api_errors import AlreadyExists, ApiError, Conflict
from collectionstore_operator.kubernetes.api.client import Kube
from collectionstore_operator.kubernetes.api.kinds import Body, Kind
from collectionstore_operator.kubernetes.api.lease_object import EPOCH, Watched, epoch_of, holder_of, transitions_of
from collectionstore_operator.observability.metrics import OperatorMetrics

__all__ = ["EPOCH", "LEASE_S", "RENEW_DEADLINE_S", "RETRY_S", "Lease", "LeaseLost"]

LEASE_S: Final = 15
RENEW_DEADLINE_S: Final = 10.0
RETRY_S: Final = 2.0

log = structlog.get_logger(__name__)


class LeaseLost(Exception):
    """The Lease was not renewed in time, or another operator holds it: exit immediately."""


class Lease:
    """One candidate of the election. Belongs to one event loop."""

    def __init__(
        self,
        kube: Kube,
        *,
        name: str,
        namespace: str,
        identity: str,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        metrics: OperatorMetrics | None = None,
    ) -> None:
        self._kube = kube
        self._name = name
        self._namespace = namespace
        self._identity = identity
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._metrics = metrics or OperatorMetrics(CollectorRegistry())
        self._watched = Watched(clock)
        self._renewed = 0.0
        self.epoch = 0
        """The epoch of this holder; 0 before it acquired the Lease."""

    async def acquire(self) -> int:
        """Wait until the Lease is acquired; return the new epoch."""
        waiting_for = ""
        while True:
            started = self._clock()
            try:
                holder = await self._try_acquire()
            except ApiError as error:
                holder = str(error)
            if not holder:
                self._renewed = started  # from BEFORE the request: the API server may have stored it that early
                log.info("lease.acquired", name=self._name, identity=self._identity, epoch=self.epoch)
                return self.epoch
            if holder != waiting_for:
                waiting_for = holder
                log.info("lease.awaited", name=self._name, holder=holder)
            await self._sleep(RETRY_S)

    async def keep(self) -> None:
        """Renew until cancelled. Raises LeaseLost."""
        while True:
            await self._sleep(RETRY_S)
            started = self._clock()
            try:
                async with asyncio.timeout(max(0.0, RENEW_DEADLINE_S - self.age_s)):
                    await self._renew()
            except (ApiError, TimeoutError) as error:
                self._metrics.not_renewed()
                log.warning("lease.not_renewed", name=self._name, reason=str(error) or "no answer in time")
                if self.age_s >= RENEW_DEADLINE_S:
                    raise LeaseLost(f"{self._name} could not be renewed for {self.age_s:.0f} s") from error
            else:
                self._renewed = started

    @property
    def age_s(self) -> float:
        """Return the seconds since the last renewal, counted from BEFORE its request."""
        return self._clock() - self._renewed

    @property
    def holds(self) -> bool:
        """Return whether no other operator can hold the Lease yet. False after a suspend that outlasted the renewal."""
        return self.epoch > 0 and self.age_s < RENEW_DEADLINE_S

    async def release(self) -> None:
        """Release the Lease, so that the next operator can acquire it immediately."""
        try:
            found = await self._kube.get(Kind.LEASE, self._name, self._namespace)
            if self._is_ours(found):
                found["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._kube.replace(found)
                log.info("lease.released", name=self._name)
        except ApiError as error:
            log.warning("lease.not_released", name=self._name, reason=str(error))

    async def _try_acquire(self) -> str:
        """Acquire the Lease if it is free; return its holder otherwise, empty once it is acquired."""
        found = await self._kube.find(Kind.LEASE, self._name, self._namespace)
        if found is None:
            epoch = int(self._wall())
            try:
                await self._kube.create(self._body(epoch, 0))
            except AlreadyExists:
                return "another operator"
            self.epoch = epoch
            return ""
        holder = holder_of(found)
        # Our own name is left over from the previous container of this pod, which has ended.
        if holder not in ("", self._identity) and not self._watched.is_stale(found, LEASE_S):
            return holder
        epoch = max(epoch_of(found) + 1, int(self._wall()))
        body = self._body(epoch, transitions_of(found) + 1)
        body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        try:
            await self._kube.replace(body)
        except Conflict:
            return "another operator"
        self.epoch = epoch
        return ""

    async def _renew(self) -> None:
        found = await self._kube.get(Kind.LEASE, self._name, self._namespace)
        if not self._is_ours(found):
            raise LeaseLost(f"{self._name} was taken over by {holder_of(found) or 'no holder'}")
        found["spec"]["renewTime"] = lease_object.moment(self._wall())
        await self._kube.replace(found)

    def _is_ours(self, found: Body) -> bool:
        return holder_of(found) == self._identity and epoch_of(found) == self.epoch

    def _body(self, epoch: int, transitions: int) -> Body:
        return lease_object.body(
            name=self._name,
            namespace=self._namespace,
            holder=self._identity,
            epoch=epoch,
            transitions=transitions,
            duration_s=LEASE_S,
            now=self._wall(),
        )
