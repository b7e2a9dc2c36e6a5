"""The loop's runtime on Kubernetes: one cluster, as a resource, an observer and an executor. It decides nothing."""

from __future__ import annotations

import time
from collections.abc import Callable

from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.api import ApiError, Kube
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.api.tenure import Tenure
from collectionstore_operator.kubernetes.authority import Authority
from collectionstore_operator.kubernetes.caches.reads import Reads
from collectionstore_operator.kubernetes.children import Children
from collectionstore_operator.kubernetes.cluster_access import ClusterAccess
from collectionstore_operator.kubernetes.custom_resource import CustomResource
from collectionstore_operator.kubernetes.enrolment import Enrolment
from collectionstore_operator.kubernetes.executor import Executor
from collectionstore_operator.kubernetes.final_backups import FinalBackups
from collectionstore_operator.kubernetes.known_backups import KnownBackups
from collectionstore_operator.kubernetes.observer import Observer
from collectionstore_operator.kubernetes.record import Record
from collectionstore_operator.kubernetes.schedules import Schedules
from collectionstore_operator.model.actions import Action
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.reconcile.access_control import AccessControl
from collectionstore_operator.reconcile.node_client import NodeClient
from collectionstore_operator.resource.desired import Desired
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import Status


class ClusterRuntime:
    """One cluster in Kubernetes; implements `reconcile.loop.Runtime`."""

    def __init__(
        self,
        kube: Kube,
        client: NodeClient,
        recorder: Recorder,
        *,
        namespace: str,
        name: str,
        holder: str,
        may_act: Callable[[], bool] = lambda: True,
        enrolment: Enrolment | None = None,
        reads: Reads | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`holder` names this installation of the operator: namespace and name of its Lease.

        `may_act` says whether that Lease is still ours, as far as this process can tell without a request. By `clock`,
        in seconds, is measured for how long pods have not been ready.
        """
        self.reads = reads or Reads(kube)
        """What observations are read through; without caches always the newest state."""
        record = Record(kube, self.reads)
        self._kube = kube
        self._tenure = Tenure(kube, holder=holder, leads=may_act)
        self._resource = CustomResource(kube, recorder, self.reads, namespace=namespace, name=name)
        access = ClusterAccess(
            kube=kube,
            reads=self.reads,
            tenure=self._tenure,
            nodes=client,
            resource=self._resource,
            record=record,
            authority=Authority(kube, record, self.reads),
            children=Children(kube, self.reads),
            enrolment=enrolment or Enrolment(kube, ""),
            schedules=Schedules(kube),
            backups=KnownBackups(kube),
            final_backups=FinalBackups(kube),
            control=AccessControl(client),
        )
        self._observer = Observer(access, clock=clock)
        self._executor = Executor(access)
        self._namespace_terminating = False

    async def desired(self) -> Desired | None:
        """Read the resource; None once it is gone or released. Raises InvalidResource."""
        return await self._resource.read()

    async def hold(self, desired: Desired) -> str:
        """Take or renew the Lease of the cluster; return from whom it was taken. Raises HeldElsewhere or ApiError."""
        try:
            if not self.reads.newest and await self._tenure.keep(desired):
                return ""
            former = await self._tenure.hold(desired)
        except ApiError:
            # In a namespace that is being deleted nothing can be created, and our Role may be gone: all that is left
            # to do is to remove the finalizer, which needs no Lease.
            if await pod_diagnostics.is_terminating(self._kube, desired.namespace):
                self._namespace_terminating = True
                return ""
            raise
        if not former:
            return ""
        return (
            f"the operator {former} did not renew the Lease of the cluster: taken over with epoch {self._tenure.epoch}"
        )

    async def observe(self, desired: Desired) -> Observed:
        """Observe everything there is of the cluster."""
        observed = await self._observer.observe(desired)
        self._namespace_terminating = observed.namespace_terminating
        return observed

    async def execute(self, action: Action, desired: Desired, observed: Observed) -> None:
        """Perform one action. Raises ActionRefused or ActionUnfinished."""
        await self._executor.execute(action, desired, observed)

    async def publish(self, status: Status) -> None:
        """Write the status of the resource."""
        await self._resource.publish(status)

    async def last_status(self) -> Status | None:
        """Return the status published last."""
        return self._resource.last_status()

    async def publish_observation(self, observed: Observed) -> None:
        """Do nothing: other programs read the API server."""

    async def record(self, event: Event) -> None:
        """Write an Event about the resource; the API server accepts none in a namespace that is being deleted."""
        if not self._namespace_terminating:
            await self._resource.record(event)
