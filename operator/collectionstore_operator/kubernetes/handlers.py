"""What kopf is told: one daemon per resource, and watches that only wake it. Nothing is decided here.

How the traps of kopf are kept away from:
- kopf starts no daemon for a resource that was being deleted already when the operator came up, and takes its own
  finalizer off at once; so the operator has a finalizer of its own, and such a resource is finished by its event;
- there are no handlers of changes: no progress, no copy of the spec is stored on the resource;
- nothing is returned, or it would be written into the status; no Events are made from log lines.
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
"""Kopf's, while its daemon runs; ours is `labels.FINALIZER`."""
EXIT_S: Final = 5.0
BACKOFF_S: Final = 5.0

_OURS: Final = {labels.MANAGED_BY: labels.FIELD_MANAGER}
_CHILDREN: Final = (Kind.POD, Kind.PERSISTENT_VOLUME_CLAIM, Kind.STATEFUL_SET)
WATCHED: Final = (Kind.CLUSTER, Kind.SIGNING_REQUEST, *_CHILDREN)


def settings() -> kopf.OperatorSettings:
    """Return settings under which watches notice that they are dead, and nothing is written but what we write."""
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
    """Return all handlers there are, for these clusters."""
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
    # Told first and cancelled only after that: a cancelled daemon cannot hand the deletion on to its successor.
    @kopf.daemon(
        labels.GROUP,
        labels.VERSION,
        labels.PLURAL,
        registry=made,
        cancellation_backoff=EXIT_S,
        cancellation_timeout=EXIT_S,
    )
    async def tend(namespace: str | None, name: str | None, stopped: kopf.DaemonStopped, **_: Any) -> None:
        await tend_until_stopped(clusters, str(namespace), str(name), stopped)

    @kopf.on.event(labels.GROUP, labels.VERSION, labels.PLURAL, registry=made)
    async def changed(event: Mapping[str, Any], body: Mapping[str, Any], **_: Any) -> None:
        note_change(clusters, event.get("type"), body)


async def tend_until_stopped(clusters: Clusters, namespace: str, name: str, stopped: kopf.DaemonStopped) -> None:
    """Run the loop of a resource until kopf stops its daemon; one that is being deleted is finished without kopf."""
    running = asyncio.create_task(clusters.cluster(namespace, name).run())
    waiting = asyncio.ensure_future(_stopped(stopped))
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (running, waiting):
            task.cancel()
        outcome, _ = await asyncio.gather(running, waiting, return_exceptions=True)
    if isinstance(outcome, Exception):
        raise outcome  # kopf logs it and begins again
    if stopped.reason is not None and kopf.DaemonStoppingReason.RESOURCE_DELETED in stopped.reason:
        clusters.finish(namespace, name)


def note_change(clusters: Clusters, kind: str | None, body: Mapping[str, Any]) -> None:
    """Wake the loop of a resource that has changed; see to one that is being deleted; forget one that is gone."""
    metadata = body["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    if kind == "DELETED":
        clusters.wake(namespace, name)
        clusters.forget(namespace, name)
    elif "deletionTimestamp" in metadata and labels.FINALIZER in (metadata.get("finalizers") or ()):
        clusters.finish(namespace, name)
    else:
        clusters.wake(namespace, name)


def _register_child(made: kopf.OperatorRegistry, clusters: Clusters, kind: Kind) -> None:
    group, version = kind.group, kind.api_version.rpartition("/")[2]

    @kopf.on.event(group, version, kind.plural, labels=_OURS, registry=made, id=f"child-{kind.plural}")
    async def child_changed(namespace: str | None, meta: Mapping[str, Any], **_: Any) -> None:
        clusters.wake(str(namespace), meta["labels"].get(labels.CLUSTER, ""))


def _register_requests(made: kopf.OperatorRegistry, clusters: Clusters) -> None:
    group, version = Kind.SIGNING_REQUEST.group, Kind.SIGNING_REQUEST.api_version.rpartition("/")[2]

    @kopf.on.event(group, version, Kind.SIGNING_REQUEST.plural, registry=made)
    async def request_made(spec: Mapping[str, Any], **_: Any) -> None:
        namespace, cluster = asking_cluster(spec.get("username", ""))
        clusters.wake(namespace, cluster)


def asking_cluster(username: str) -> tuple[str, str]:
    """Return namespace and name of the cluster whose account a user is; empty names for another user."""
    kind, _, rest = username.rpartition("system:serviceaccount:")
    namespace, _, account = rest.partition(":")
    cluster = account.removesuffix(labels.service_account(""))
    return (namespace, cluster) if not kind and cluster != account else ("", "")


async def _stopped(stopped: kopf.DaemonStopped) -> None:
    await stopped.wait()
