"""kopf's handlers: one daemon per resource, and watches that only wake it. Nothing is decided here.

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
from collectionstore_operator.kubernetes.clusters import Clusters
from collectionstore_operator.resource import labels

FINALIZER: Final = f"{labels.GROUP}/daemon"
"""kopf's own, present while its daemon runs; the operator's is `labels.FINALIZER`."""
EXIT_S: Final = 5.0
BACKOFF_S: Final = 5.0

_CHILDREN: Final = (
    Kind.POD,
    Kind.PERSISTENT_VOLUME_CLAIM,
    Kind.STATEFUL_SET,
    Kind.SERVICE,
    Kind.SERVICE_ACCOUNT,
    Kind.POD_DISRUPTION_BUDGET,
    Kind.NETWORK_POLICY,
)
"""Not Secrets and ConfigMaps: a watch would bring the contents of all of them. They are read in every round."""
WATCHED: Final = (Kind.CLUSTER, Kind.SIGNING_REQUEST, *_CHILDREN)


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


def registry(clusters: Clusters, *, in_cluster: bool) -> kopf.OperatorRegistry:
    """Return the registry of all handlers."""
    made = kopf.OperatorRegistry()
    _register_login(made, in_cluster=in_cluster)
    _register_clusters(made, clusters)
    for kind in _CHILDREN:
        _register_child(made, clusters, kind)
    _register_requests(made, clusters)
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


def _register_child(made: kopf.OperatorRegistry, clusters: Clusters, kind: Kind) -> None:
    group, version = kind.group, kind.api_version.rpartition("/")[2]

    @kopf.on.event(group, version, kind.plural, when=_is_of_a_cluster, registry=made, id=f"child-{kind.plural}")
    async def child_changed(namespace: str | None, meta: Mapping[str, Any], **_: Any) -> None:
        for cluster in clusters_of(meta):
            clusters.wake(str(namespace), cluster)


def _is_of_a_cluster(meta: Mapping[str, Any], **_: Any) -> bool:
    return bool(clusters_of(meta))


def clusters_of(meta: Mapping[str, Any]) -> set[str]:
    """Return the clusters that an object can belong to: by its owners, and by its labels, which can be changed."""
    found = {one["name"] for one in meta.get("ownerReferences") or () if one.get("kind") == labels.KIND}
    marks = meta.get("labels") or {}
    if marks.get(labels.MANAGED_BY) == labels.FIELD_MANAGER and marks.get(labels.CLUSTER):
        found.add(marks[labels.CLUSTER])
    return found


def _register_requests(made: kopf.OperatorRegistry, clusters: Clusters) -> None:
    group, version = Kind.SIGNING_REQUEST.group, Kind.SIGNING_REQUEST.api_version.rpartition("/")[2]

    @kopf.on.event(group, version, Kind.SIGNING_REQUEST.plural, registry=made)
    async def request_made(spec: Mapping[str, Any], **_: Any) -> None:
        namespace, cluster = requesting_cluster(spec.get("username", ""))
        clusters.wake(namespace, cluster)


def requesting_cluster(username: str) -> tuple[str, str]:
    """Return namespace and name of the cluster whose ServiceAccount a user name is; empty for other users."""
    kind, _, rest = username.rpartition("system:serviceaccount:")
    namespace, _, account = rest.partition(":")
    cluster = account.removesuffix(labels.service_account(""))
    return (namespace, cluster) if not kind and cluster != account else ("", "")


async def _stopped(stopped: kopf.DaemonStopped) -> None:
    await stopped.wait()
