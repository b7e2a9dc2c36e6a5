"""The items of a cluster on Kubernetes: its objects, events, logs, and the pages of its pods through the API server.

Only the rights of whoever asks are used: `get` and `list` of the kinds below, `pods/log` and `pods/proxy`. What may not
be read is missing from the report, with the reason. Secrets are not read.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeVar

from collectionstore_local.report.items import ITEM_BYTES_MAX, LOG_BYTES_MAX, Item, NotHad, Subject
from collectionstore_local.report.pages import MEMBER_PAGES, OPERATOR_PAGES
from collectionstore_operator.kubernetes.api import ApiError, Body, Kind, Kube
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import METRICS_PORT
from collectionstore_operator.settings import LEASE_NAME

T = TypeVar("T")

OPERATOR: Final = "collectionstore-operator"
OPERATOR_PORT: Final = 8080

_LISTED: Final = (
    Kind.STATEFUL_SET,
    Kind.POD,
    Kind.PERSISTENT_VOLUME_CLAIM,
    Kind.SERVICE,
    Kind.POD_DISRUPTION_BUDGET,
    Kind.SERVICE_ACCOUNT,
    Kind.POD_MONITOR,
)
"""By the cluster's labels."""


async def subject(kube: Kube, *, namespace: str, name: str, operator_namespace: str, since_s: int) -> Subject:
    """Return everything that is to be gathered of a cluster. Raises ApiError when its pods cannot be listed."""
    pods = await kube.find_all(Kind.POD, namespace, labels.selector(name))
    items = [
        Item("kubernetes/version.json", "/version", "json", _text(kube, "/version")),
        _object(kube, Kind.CLUSTER, namespace, name, "cluster/resource.json"),
        _object(kube, Kind.CONFIG_MAP, namespace, labels.record(name), "cluster/record.json"),
        *(_list(kube, kind, namespace, name) for kind in _LISTED),
        Item("kubernetes/events.json", f"events of {namespace}", "json", partial(_events, kube, namespace, name)),
        Item("kubernetes/nodes.json", "nodes of the pods", "json", partial(_nodes, kube, pods)),
    ]
    for pod in pods:
        items += _pod(kube, pod, "members", METRICS_PORT, MEMBER_PAGES, since_s)
    items += await _operator(kube, operator_namespace, since_s)
    return Subject(name, "kubernetes", items)


async def _operator(kube: Kube, namespace: str, since_s: int) -> list[Item]:
    """Return the items of the operator's pods; when those cannot be listed, an item that says so."""
    selector = {labels.NAME: OPERATOR}
    try:
        pods = await kube.find_all(Kind.POD, namespace, selector)
    except ApiError as error:
        return [Item("operator/pods.json", f"pods of {namespace}", "json", _never(str(error)))]
    if not pods:
        reason = f"no pod with {labels.NAME}={OPERATOR} in {namespace}: say where it is with --operator-namespace"
        return [Item("operator/pods.json", f"pods of {namespace}", "json", _never(reason))]
    items = [
        Item("operator/pods.json", f"pods of {namespace}", "json", _given(pods)),
        _object(kube, Kind.LEASE, namespace, _lease(pods[0]), "operator/lease.json"),
    ]
    for pod in pods:
        items += _pod(kube, pod, "operator", OPERATOR_PORT, OPERATOR_PAGES, since_s)
    return items


def _lease(pod: Body) -> str:
    """Return the name of the Lease for which this pod of the operator stands: the chart names it after the release."""
    variables = (one for container in pod["spec"]["containers"] for one in container.get("env") or ())
    return next((str(one["value"]) for one in variables if one["name"] == LEASE_NAME and "value" in one), OPERATOR)


def _pod(
    kube: Kube, pod: Body, folder: str, port: int, pages: Sequence[tuple[str, str, Any]], since_s: int
) -> Iterator[Item]:
    """Yield the logs of a pod, also of the containers before a restart, and its pages."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    path, root = Kind.POD.path(namespace, name), f"{folder}/{name}"
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        container = status["name"]
        query = {"container": container, "limitBytes": str(LOG_BYTES_MAX), "sinceSeconds": str(since_s)}
        yield Item(f"{root}/{container}.log", f"log of {name}", "lines", _text(kube, f"{path}/log", query))
        if status.get("restartCount"):
            query = {"container": container, "limitBytes": str(LOG_BYTES_MAX), "previous": "true"}
            source = f"log of {name} before its last restart"
            yield Item(f"{root}/{container}.before.log", source, "lines", _text(kube, f"{path}/log", query))
    for page, file, shape in pages:
        url = f"{path.rpartition('/')[0]}/{name}:{port}/proxy/{page}"
        yield Item(f"{root}/{file}", url, shape, _text(kube, url))


def _object(kube: Kube, kind: Kind, namespace: str, name: str, file: str) -> Item:
    return Item(file, kind.path(namespace, name), "json", _text(kube, kind.path(namespace, name)))


def _list(kube: Kube, kind: Kind, namespace: str, cluster: str) -> Item:
    async def get() -> bytes:
        return json.dumps(await _tried(kube.find_all(kind, namespace, labels.selector(cluster)))).encode()

    return Item(f"kubernetes/{kind.plural}.json", kind.path(namespace), "json", get)


async def _events(kube: Kube, namespace: str, cluster: str) -> bytes:
    """Return the events about the cluster and what belongs to it, whose names begin with its own."""
    found = await _tried(kube.find_all(Kind.EVENT, namespace))
    ours = [one for one in found if _about(one, cluster)]
    return json.dumps(ours).encode()


def _about(event: Body, cluster: str) -> bool:
    name = (event.get("regarding") or {}).get("name", "")
    return name == cluster or name.startswith(f"{cluster}-") or name.endswith(f"-{cluster}") or f"-{cluster}-" in name


async def _nodes(kube: Kube, pods: Sequence[Body]) -> bytes:
    """Return the conditions and the room of the machines that the pods run on."""
    names = sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")})
    found = []
    for name in names:
        node = await _tried(kube.get(Kind.NODE, name))
        status = node.get("status") or {}
        kept = {part: status.get(part) for part in ("conditions", "allocatable", "capacity", "nodeInfo")}
        found.append({"name": name, "labels": node["metadata"].get("labels"), "spec": node.get("spec"), **kept})
    return json.dumps(found).encode()


def _text(kube: Kube, path: str, query: Mapping[str, str] | None = None) -> Callable[[], Awaitable[bytes]]:
    async def get() -> bytes:
        return await _tried(kube.read(path, query or {}, bytes_max=ITEM_BYTES_MAX))

    return get


async def _tried(call: Awaitable[T]) -> T:
    try:
        return await call
    except ApiError as error:
        raise NotHad(str(error)) from error


def _given(value: object) -> Callable[[], Awaitable[bytes]]:
    async def get() -> bytes:
        return json.dumps(value).encode()

    return get


def _never(reason: str) -> Callable[[], Awaitable[bytes]]:
    async def get() -> bytes:
        raise NotHad(reason)

    return get
