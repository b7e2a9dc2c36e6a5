"""kopf's handlers: one daemon per resource, and the watch of the resources, which only wakes it. Nothing is decided
here. The other objects of clusters are watched by `kubernetes.caches`, which wakes the same loops.

Traps of kopf, and how they are avoided:
- kopf starts no daemon for a resource that was already being deleted when the operator started, and removes its own
  finalizer immediately; so the operator has its own one, and the resource's event starts the loop that finishes it;
- there are no change handlers, so kopf stores no progress and no copy of the spec on the resource;
- no handler returns a value, which kopf would write into the status; log lines do not become Events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import kopf

from collectionstore_operator.kubernetes.api.kinds import Kind
from collectionstore_operator.kubernetes.backups.loops import BackupLoops
from collectionstore_operator.kubernetes.clusters import Clusters
from collectionstore_operator.resource import labels

FINALIZER: Final = f"{labels.GROUP}/daemon"
"""kopf's own, present while its daemon runs; the operator's is `labels.FINALIZER`."""
EXIT_S: Final = 5.0
BACKOFF_S: Final = 5.0


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: watches that detect a dead connection, and no writes by kopf except its finalizer."""
    made = kopf.OperatorSettings()
    made.posting.enabled = False
    made.scanning.disabled = True
    made.persistence.finalizer = FINALIZER
    made.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=labels.GROUP, v1=False)
    made.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=labels.GROUP, v1=False)
    made.watching.server_timeout = 300
    made.watching.client_timeout = 310
    made.watching.connect_timeout = 30
    made.networking.request_timeout = 30
    made.networking.connect_timeout = 10
    made.execution.default_backoff = BACKOFF_S
    return made


def registry(clusters: Clusters, *, in_cluster: bool, backups: BackupLoops | None = None) -> kopf.OperatorRegistry:
    """Return the registry of all handlers."""
    made = kopf.OperatorRegistry()
    _register_login(made, in_cluster=in_cluster)
    _register_clusters(made, clusters)
    if backups is not None:
        for kind in (Kind.BACKUP, Kind.BACKUP_SCHEDULE, Kind.USER, Kind.ROLE):
            _register_backups(made, backups, kind)
    return made


def _register_login(made: kopf.OperatorRegistry, *, in_cluster: bool) -> None:
    @kopf.on.login(registry=made)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        log_in = kopf.login_with_service_account if in_cluster else kopf.login_with_kubeconfig
        return log_in(**kwargs)


def _register_clusters(made: kopf.OperatorRegistry, clusters: Clusters) -> None:
    # Stopped by its flag first, cancelled only later: a cancelled daemon could not pass a deletion on to `finish`.
    @kopf.daemon(
        labels.GROUP,
        labels.VERSION,
        labels.PLURAL,
        registry=made,
        cancellation_backoff=EXIT_S,
        cancellation_timeout=EXIT_S,
    )
    async def reconcile(namespace: str | None, name: str | None, stopped: kopf.DaemonStopped, **_: Any) -> None:
        await run_until_stopped(clusters, str(namespace), str(name), stopped)

    @kopf.on.event(labels.GROUP, labels.VERSION, labels.PLURAL, registry=made)
    async def resource_changed(event: Mapping[str, Any], body: Mapping[str, Any], **_: Any) -> None:
        handle_event(clusters, event.get("type"), body)


def _register_backups(made: kopf.OperatorRegistry, backups: BackupLoops, kind: Kind) -> None:
    @kopf.on.event(labels.GROUP, labels.VERSION, kind.plural, registry=made, id=f"{kind.plural}_changed")
    async def backup_changed(body: Mapping[str, Any], **_: Any) -> None:
        backups.changed(kind, body)


async def run_until_stopped(clusters: Clusters, namespace: str, name: str, stopped: kopf.DaemonStopped) -> None:
    """Run the loop of a resource until kopf stops its daemon; a deletion continues without kopf."""
    running = asyncio.create_task(clusters.cluster(namespace, name).run())
    waiting = asyncio.ensure_future(_stopped(stopped))
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (running, waiting):
            task.cancel()
        outcome, _ = await asyncio.gather(running, waiting, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome  # kopf logs it and restarts the daemon
    if stopped.reason is not None and kopf.DaemonStoppingReason.RESOURCE_DELETED in stopped.reason:
        clusters.finish(namespace, name)


def handle_event(clusters: Clusters, kind: str | None, body: Mapping[str, Any]) -> None:
    """Wake the loop of a changed resource, run that of a resource being deleted, drop that of a deleted one."""
    metadata = body["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    clusters.arrive(namespace, name, metadata.get("resourceVersion", ""))
    if kind == "DELETED":
        clusters.wake(namespace, name)
        clusters.forget(namespace, name)
    elif "deletionTimestamp" in metadata and labels.FINALIZER in (metadata.get("finalizers") or ()):
        clusters.finish(namespace, name)
    else:
        clusters.wake(namespace, name)


async def _stopped(stopped: kopf.DaemonStopped) -> None:
    await stopped.wait()
