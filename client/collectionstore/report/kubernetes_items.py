"""The items of a cluster on Kubernetes: its objects, events, logs, and the pages of its pods through the pod proxy.

Uses only the permissions of the user who asks: `get` and `list` of the resources below, `pods/log` and `pods/proxy`.
An item that the user may not read is listed as missing, with the reason. Secrets are not requested.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final

from collectionstore.kubernetes import names
from collectionstore.kubernetes.api_server import ApiError, ApiServer, Object
from collectionstore.kubernetes.names import Resource
from collectionstore.report.items import ITEM_BYTES_MAX, LOG_BYTES_MAX, Item, ItemUnavailable, ReportPlan
from collectionstore.report.pages import MEMBER_PAGES, OPERATOR_PAGES, Page

_LISTED: Final = (
    names.STATEFUL_SETS,
    names.PODS,
    names.PERSISTENT_VOLUME_CLAIMS,
    names.SERVICES,
    names.POD_DISRUPTION_BUDGETS,
    names.SERVICE_ACCOUNTS,
    names.POD_MONITORS,
)
"""Selected by the cluster's labels."""


def plan_report(
    server: ApiServer, *, namespace: str, cluster: str, operator_namespace: str | None, since_s: int
) -> ReportPlan:
    """Return the plan for a cluster; lists its pods and those of the operator. Raises ApiError if the first fails.

    Without `operator_namespace` the operator is found by its label in all namespaces; where the user may not list pods
    of all, in the namespace of the documentation.
    """
    pods = _of_cluster(server, names.PODS, namespace, cluster)
    items = [
        Item("kubernetes/version.json", "/version", "json", _text(server, "/version")),
        _object(server, names.CLUSTERS, namespace, cluster, "cluster/resource.json"),
        _object(server, names.CONFIG_MAPS, namespace, names.record_name(cluster), "cluster/record.json"),
        *(_list(server, resource, namespace, cluster) for resource in _LISTED),
        Item(
            "kubernetes/events.json",
            f"events of {namespace}",
            "json",
            _json(partial(_events, server, namespace, cluster)),
        ),
        Item("kubernetes/nodes.json", "nodes of the pods", "json", _json(partial(_nodes, server, pods))),
    ]
    for pod in pods:
        items += _pod(server, pod, "members", names.METRICS_PORT, MEMBER_PAGES, since_s)
    items += _operator(server, operator_namespace, since_s)
    return ReportPlan(cluster, "kubernetes", items)


def _operator(server: ApiServer, namespace: str | None, since_s: int) -> list[Item]:
    """Return the items of the operator's pods; if they cannot be listed, an item with the reason."""
    path, source = "operator/pods.json", "pods of the operator"
    try:
        pods, where = _operator_pods(server, namespace)
    except ApiError as error:
        return [Item(path, source, "json", _unavailable(str(error)))]
    if not pods:
        reason = f"no pod with {names.NAME_LABEL}={names.OPERATOR} in {where}: set --operator-namespace"
        return [Item(path, source, "json", _unavailable(reason))]
    items = [Item(path, source, "json", _json(lambda: pods))]
    leases = sorted({(pod["metadata"]["namespace"], _lease_name(pod)) for pod in pods})
    for place, name in leases:
        file = "operator/lease.json" if len(leases) == 1 else f"operator/lease-{place}-{name}.json"
        items.append(_object(server, names.LEASES, place, name, file))
    for pod in pods:
        items += _pod(server, pod, "operator", names.OPERATOR_PORT, OPERATOR_PAGES, since_s)
    return items


def _operator_pods(server: ApiServer, namespace: str | None) -> tuple[list[Object], str]:
    """Return the pods of all operators, and where they were looked for."""
    labels = {names.NAME_LABEL: names.OPERATOR}
    if namespace is None:
        try:
            return server.list_objects(names.PODS, None, labels), "any namespace"
        except ApiError as error:
            if error.status != 403:
                raise
    namespace = namespace or names.OPERATOR_NAMESPACE
    return server.list_objects(names.PODS, namespace, labels), namespace


def _lease_name(pod: Object) -> str:
    """Return the name of the operator's Lease from its pod: the chart names it after the release."""
    variables = (one for container in pod["spec"]["containers"] for one in container.get("env") or ())
    found = (str(one["value"]) for one in variables if one["name"] == names.LEASE_VARIABLE and "value" in one)
    return next(found, names.OPERATOR)


def _pod(server: ApiServer, pod: Object, folder: str, port: int, pages: Sequence[Page], since_s: int) -> Iterator[Item]:
    """Yield the logs of a pod, those of containers before their last restart too, and its pages."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    path, root = names.PODS.path(namespace, name), f"{folder}/{name}"
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        container = status["name"]
        query = {"container": container, "limitBytes": str(LOG_BYTES_MAX), "sinceSeconds": str(since_s)}
        yield Item(f"{root}/{container}.log", f"log of {name}", "lines", _text(server, f"{path}/log", query))
        if status.get("restartCount"):
            query = {"container": container, "limitBytes": str(LOG_BYTES_MAX), "previous": "true"}
            source = f"log of {name} before its last restart"
            yield Item(f"{root}/{container}.before.log", source, "lines", _text(server, f"{path}/log", query))
    for page in pages:
        # The port goes into the name of the pod, as the API server's proxy expects it: pods/NAME:PORT/proxy/PATH.
        url = f"{path.rpartition('/')[0]}/{name}:{port}/proxy/{page.path}"
        yield Item(f"{root}/{page.file}", url, page.shape, _text(server, url))


def _object(server: ApiServer, resource: Resource, namespace: str, name: str, file: str) -> Item:
    path = resource.path(namespace, name)
    return Item(file, path, "json", _text(server, path))


def _list(server: ApiServer, resource: Resource, namespace: str, cluster: str) -> Item:
    read = partial(_of_cluster, server, resource, namespace, cluster)
    return Item(f"kubernetes/{resource.plural}.json", resource.path(namespace), "json", _json(read))


def _of_cluster(server: ApiServer, resource: Resource, namespace: str, cluster: str) -> list[Object]:
    """Return the objects of a cluster, those of its read replicas last. Raises ApiError."""
    selectors = (names.member_labels(cluster), names.read_replica_labels(cluster))
    return [one for labels in selectors for one in server.list_objects(resource, namespace, labels)]


def _events(server: ApiServer, namespace: str, cluster: str) -> list[Object]:
    return [event for event in server.list_objects(names.EVENTS, namespace) if _is_about(event, cluster)]


def _is_about(event: Object, cluster: str) -> bool:
    """Return whether an event is about the cluster or an object of it: their names contain the cluster's."""
    name = (event.get("regarding") or {}).get("name", "")
    return name == cluster or name.startswith(f"{cluster}-") or name.endswith(f"-{cluster}") or f"-{cluster}-" in name


def _nodes(server: ApiServer, pods: Sequence[Object]) -> list[Object]:
    """Return the conditions and the capacity of the Kubernetes nodes that the pods run on."""
    found = []
    for name in sorted({pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName")}):
        node = server.get_object(names.NODES.path(None, name))
        status = node.get("status") or {}
        kept = {part: status.get(part) for part in ("conditions", "allocatable", "capacity", "nodeInfo")}
        found.append({"name": name, "labels": node["metadata"].get("labels"), "spec": node.get("spec"), **kept})
    return found


def _text(server: ApiServer, path: str, query: Mapping[str, str] | None = None) -> Callable[[], Awaitable[bytes]]:
    return _in_thread(partial(server.read, path, query, bytes_max=ITEM_BYTES_MAX))


def _json(read: Callable[[], object]) -> Callable[[], Awaitable[bytes]]:
    return _in_thread(lambda: json.dumps(read()).encode())


def _in_thread(read: Callable[[], bytes]) -> Callable[[], Awaitable[bytes]]:
    async def in_thread() -> bytes:
        try:
            return await asyncio.to_thread(read)
        except ApiError as error:
            raise ItemUnavailable(str(error)) from error

    return in_thread


def _unavailable(reason: str) -> Callable[[], Awaitable[bytes]]:
    async def fail() -> bytes:
        raise ItemUnavailable(reason)

    return fail
