"""The resource as the API server stores it: read it, publish its status, change its finalizers, record Events about it.

Its spec is never written. What was read last is kept, for the identity in the status and for preconditions.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.kubernetes import pod_diagnostics
from collectionstore_operator.kubernetes.api import Body, Conflict, Kind, Kube, NotFound
from collectionstore_operator.kubernetes.api.event_recorder import Recorder
from collectionstore_operator.kubernetes.caches.reads import Reads
from collectionstore_operator.model.observed import PublishedIdentity
from collectionstore_operator.reconcile.reading import Reading
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, parse, to_take_down, waits_for_backup
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import Status


class CustomResource:
    """One CollectionStoreCluster resource. Belongs to one loop."""

    def __init__(self, kube: Kube, recorder: Recorder, reads: Reads, *, namespace: str, name: str) -> None:
        self._kube = kube
        self._reads = reads
        self._recorder = recorder
        self._namespace = namespace
        self._name = name
        self._body: Body = {}

    async def read(self) -> Desired | None:
        """Read the desired state; None once the resource is gone or released. Raises InvalidResource."""
        found = await self._reads.find(Kind.CLUSTER, self._name, self._namespace)
        if found is not None and self._reads.from_cache:
            desired = _ordinary(found)
            if desired is not None:
                self._body = found
                return desired
            # A round about any other state ends something, or is the last: it is decided from the newest one.
            self._reads.begin(Reading.NEWEST)
            found = await self._reads.find(Kind.CLUSTER, self._name, self._namespace)
        if found is None:
            return None
        self._body = found
        if "deletionTimestamp" in found["metadata"] and not self.has_finalizer():
            return None  # others may still hold it; we have released it, or never created anything for it
        try:
            return parse(found)
        except InvalidResource:
            if "deletionTimestamp" not in found["metadata"]:
                raise
            desired = to_take_down(found)
            held = desired.spec.deletion_protection or waits_for_backup(found)
            if held and not await pod_diagnostics.is_terminating(self._kube, self._namespace):
                # A cluster that is protected, or to be backed up first, is still reconciled, and an invalid spec does
                # not define to which state.
                raise
            return desired

    def has_finalizer(self) -> bool:
        """Return whether our finalizer was on the resource when it was read last."""
        return labels.FINALIZER in (self._body["metadata"].get("finalizers") or ())

    def published_identity(self) -> PublishedIdentity:
        """Return the cluster's identity from the status, in case the record is missing."""
        status = self.last_status() or Status()
        return PublishedIdentity(
            cluster_id=status.cluster_id, initialized=status.initialized, bootstrap_node=status.bootstrap_node
        )

    def last_status(self) -> Status | None:
        """Return the status published last; None when there is none, or when another version wrote it unreadably."""
        found = self._body.get("status")
        try:
            return msgspec.convert(found, Status) if found else None
        except msgspec.ValidationError:
            return None

    async def publish(self, status: Status) -> None:
        """Write the status; a resource that was deleted meanwhile needs none."""
        # The uid is a precondition: a resource of the same name may have been created since the last read.
        body = {"metadata": {"uid": self._body["metadata"]["uid"]}, "status": msgspec.to_builtins(status)}
        try:
            self._keep(await self._kube.patch(Kind.CLUSTER, self._name, self._namespace, body, subresource="status"))
        except NotFound:
            return

    async def add_finalizer(self) -> None:
        """Add our finalizer; others stay."""
        await self._change_finalizers(lambda found: [*_without_ours(found), labels.FINALIZER])

    async def remove_finalizer(self) -> None:
        """Remove our finalizer; others stay. A resource that is gone has none."""
        try:
            await self._change_finalizers(_without_ours)
        except NotFound:
            return  # an attempt whose answer was lost removed the last finalizer, and the API server the resource

    async def record(self, event: Event) -> None:
        """Write an Event about the resource."""
        uid = self._body.get("metadata", {}).get("uid", "")
        await self._recorder.record(event, Desired(name=self._name, namespace=self._namespace, uid=uid))

    async def _change_finalizers(self, change: Callable[[list[str]], list[str]]) -> None:
        """Change the list of finalizers; kopf changes it too, so retry on a conflict from the newest list."""
        uid = self._body["metadata"]["uid"]
        while True:
            metadata = self._body["metadata"]
            finalizers = change(list(metadata.get("finalizers") or ()))
            # A merge patch replaces the whole list: without the resourceVersion it would drop what kopf just added.
            body: Body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
            try:
                self._keep(await self._kube.patch(Kind.CLUSTER, self._name, self._namespace, body))
                return
            except Conflict:
                self._body = await self._kube.get(Kind.CLUSTER, self._name, self._namespace)
                if self._body["metadata"]["uid"] != uid:
                    raise  # a new resource of the same name: the action was planned for the earlier one

    def _keep(self, written: Body) -> None:
        self._body = written
        self._reads.saw(Kind.CLUSTER, written)


def _ordinary(found: Body) -> Desired | None:
    """Return the desired state of a valid resource that is not being deleted; None for any other."""
    if "deletionTimestamp" in found["metadata"]:
        return None
    try:
        return parse(found)
    except InvalidResource:
        return None


def _without_ours(finalizers: list[str]) -> list[str]:
    return [one for one in finalizers if one != labels.FINALIZER]
