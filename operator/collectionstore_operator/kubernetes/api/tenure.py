"""The right of one installation of the operator to act on one cluster: a Lease beside the cluster, with its epoch.

The Lease of an installation (`lease`) lets one of its processes act. Two installations have two of those, and may watch
the same namespace by mistake: so each takes this one, in the cluster's namespace, before it acts on the cluster.

Invariants:
- an installation that does not hold it neither acts on the cluster nor writes its status;
- every holder has a higher epoch than the one before, by 1, so nodes refuse what an earlier one still sends;
- a holder that has not renewed for DEADLINE_S stops acting BEFORE another installation may take over (LEASE_S);
- a process of the same installation takes over at once: the Lease of the installation has excluded the others;
- taken and renewed only from the resourceVersion that was read: of two at the same time, one is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import structlog

from collectionstore_operator.errors import ActionRefused, HeldElsewhere
from collectionstore_operator.kubernetes.api import lease_object
from collectionstore_operator.kubernetes.api.api_errors import AlreadyExists, Conflict, NotFound
from collectionstore_operator.kubernetes.api.client import Kube
from collectionstore_operator.kubernetes.api.kinds import Body, Kind
from collectionstore_operator.kubernetes.api.lease_object import EPOCH, Watched, epoch_of, holder_of, transitions_of
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

LEASE_S: Final = 60
"""After this time without a change another installation may take over."""
DEADLINE_S: Final = 45.0
"""After this time without a renewal its holder does nothing any more."""
RENEW_S: Final = 20.0
"""Renewed when older, at the next round: one write in 30 s for an idle cluster, which has a round every 15 s."""

log = structlog.get_logger(__name__)


class Tenure:
    """The Lease of one cluster. Belongs to one loop. `leads` says whether this process leads its installation."""

    def __init__(
        self,
        kube: Kube,
        *,
        holder: str,
        leads: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`holder` names the installation: namespace and name of its Lease."""
        self._kube = kube
        self._holder = holder
        self._leads = leads
        self._clock = clock
        self._wall = wall
        self._watched = Watched(clock)
        self._renewed = 0.0
        self._written: tuple[str, Body] | None = None
        """For the resource of which uid the Lease was written last, and the answer: a renewal needs no read before."""
        self.epoch = 0
        """The fencing epoch of the cluster while it is held; 0 before."""

    @property
    def holds(self) -> bool:
        """Return whether no other installation can act on the cluster yet, as far as can be told without a request."""
        return self.epoch > 0 and self._leads() and self._clock() - self._renewed < DEADLINE_S

    async def hold(self, desired: Desired) -> str:
        """Take or renew the Lease; return from whom it was taken, empty unless from another. Raises HeldElsewhere."""
        if not self._leads():
            raise HeldElsewhere("the Lease of this operator was not renewed in time: another process may be acting")
        started = self._clock()
        found = await self._kube.find(Kind.LEASE, labels.lease(desired.name), desired.namespace)
        if found is not None and (other := _other_owner(found, desired)):
            self.epoch = 0
            raise HeldElsewhere(f"the Lease {labels.lease(desired.name)} belongs to {other}: rename or delete it")
        if found is not None and self._is_ours(found):
            if started - self._renewed >= RENEW_S or not _is_owned(found, desired):
                await self._renew(found, desired, started)
            return ""
        former = holder_of(found) if found is not None else ""
        if found is not None and former not in ("", self._holder) and not self._watched.is_stale(found, LEASE_S):
            self.epoch = 0
            raise HeldElsewhere(f"the operator {former} holds the Lease {labels.lease(desired.name)} of this cluster")
        await self._take(found, desired, started)
        return former if former != self._holder else ""

    async def keep(self, desired: Desired) -> bool:
        """Renew the Lease if that is due, without reading it before; return whether it is held.

        False where only a read can tell: `hold` then. While it is held no other installation can have taken it; one
        that it was taken from by hand is refused at the renewal, and every disruptive action confirms it first.
        """
        started = self._clock()
        uid, written = self._written or ("", None)
        if not self.holds or written is None or uid != desired.uid:
            return False
        if started - self._renewed < RENEW_S:
            return True
        try:
            answer = await self._kube.replace(self._changed(written, desired, self.epoch))
        except (Conflict, NotFound):
            self._written = None
            return False
        self._renewed, self._written = started, (desired.uid, answer)
        return True

    async def confirm(self, desired: Desired) -> None:
        """Read the Lease again before something that cannot be undone. Raises ActionRefused unless it is still ours."""
        found = await self._kube.find(Kind.LEASE, labels.lease(desired.name), desired.namespace)
        if found is None or not self._is_ours(found) or not self.holds:
            former = holder_of(found) if found is not None else ""
            raise ActionRefused(f"the Lease of the cluster is not held any more: {former or 'nobody'} holds it")

    async def advance(self, epoch: int, desired: Desired) -> None:
        """Take a higher epoch while the Lease is held, proved by the write. Raises ActionRefused."""
        started = self._clock()
        found = await self._kube.find(Kind.LEASE, labels.lease(desired.name), desired.namespace)
        if found is None or not self._is_ours(found) or not self.holds:
            raise ActionRefused("the Lease of the cluster is not held any more")
        if epoch <= self.epoch:
            return
        try:
            answer = await self._kube.replace(self._changed(found, desired, epoch))
        except Conflict as error:
            raise ActionRefused(f"the Lease of the cluster has changed: {error}") from error
        self._written = (desired.uid, answer)
        self.epoch, self._renewed = epoch, started

    async def _take(self, found: Body | None, desired: Desired, started: float) -> None:
        epoch = max(self.epoch, epoch_of(found) if found is not None else 0) + 1
        self.epoch, self._written = 0, None
        try:
            if found is None:
                answer = await self._kube.create(self._new(desired, epoch))
            else:
                changed = self._changed(found, desired, epoch)
                changed["spec"]["leaseTransitions"] = transitions_of(found) + 1
                changed["spec"]["acquireTime"] = changed["spec"]["renewTime"]
                answer = await self._kube.replace(changed)
        except (AlreadyExists, Conflict) as error:
            raise HeldElsewhere("the Lease of this cluster was taken by another operator just now") from error
        self._written = (desired.uid, answer)
        self.epoch, self._renewed = epoch, started  # from BEFORE the request: it may have been stored that early
        log.info("tenure.taken", name=labels.lease(desired.name), holder=self._holder, epoch=epoch)

    async def _renew(self, found: Body, desired: Desired, started: float) -> None:
        try:
            answer = await self._kube.replace(self._changed(found, desired, self.epoch))
        except Conflict as error:
            # An earlier attempt of ours may have been stored and its answer lost: who holds it now decides.
            now = await self._kube.find(Kind.LEASE, labels.lease(desired.name), desired.namespace)
            if now is None or not self._is_ours(now):
                self.epoch = 0
                raise HeldElsewhere("the Lease of this cluster was taken by another operator just now") from error
            answer = now
        self._renewed, self._written = started, (desired.uid, answer)

    def _is_ours(self, found: Body) -> bool:
        return self.epoch > 0 and holder_of(found) == self._holder and epoch_of(found) == self.epoch

    def _new(self, desired: Desired, epoch: int) -> Body:
        made = lease_object.body(
            name=labels.lease(desired.name),
            namespace=desired.namespace,
            holder=self._holder,
            epoch=epoch,
            transitions=0,
            duration_s=LEASE_S,
            now=self._wall(),
        )
        made["metadata"] |= _owned(desired)
        return made

    def _changed(self, found: Body, desired: Desired, epoch: int) -> Body:
        metadata, now = found["metadata"], lease_object.moment(self._wall())
        annotations = {**(metadata.get("annotations") or {}), EPOCH: str(epoch)}
        spec = {**found["spec"], "holderIdentity": self._holder, "leaseDurationSeconds": LEASE_S, "renewTime": now}
        identity = {"apiVersion": Kind.LEASE.api_version, "kind": "Lease"}
        return {**identity, "metadata": {**metadata, **_owned(desired), "annotations": annotations}, "spec": spec}


def _owned(desired: Desired) -> Body:
    """Return the labels and the owner: the Lease goes with its resource. Nodes keep the epoch beyond that."""
    owner = {"apiVersion": labels.API_VERSION, "kind": labels.KIND, "name": desired.name, "uid": desired.uid}
    return {"labels": labels.object_labels(desired.name), "ownerReferences": [owner] if desired.uid else []}


def _is_owned(found: Body, desired: Desired) -> bool:
    owners = {one["uid"] for one in found["metadata"].get("ownerReferences") or ()}
    return not desired.uid or desired.uid in owners


def _other_owner(found: Body, desired: Desired) -> str:
    """Return whose a Lease of this name is; empty if it is that of the cluster, or of an earlier one of its name.

    That of an earlier one is taken over, and not waited for until it is collected: it has the last epoch.
    """
    metadata = found["metadata"]
    owners = metadata.get("ownerReferences") or ()
    if _is_owned(found, desired) and owners:
        return ""
    others = [one for one in owners if (one["kind"], one["name"]) != (labels.KIND, desired.name)]
    if others:
        return f"the {others[0]['kind']} {others[0]['name']}"
    have = metadata.get("labels") or {}
    known = all(have.get(key) == value for key, value in labels.selector(desired.name).items())
    return "" if owners or known else "another owner"
