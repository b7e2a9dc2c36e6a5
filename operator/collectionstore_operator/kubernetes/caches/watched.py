"""Which kinds are watched, by which labels, what is kept of them, and whose loops they wake. Pure.

Not Secrets: the operator may read those that it names, and must not be able to list all. Not what only explains a
failure (Events), and not what hardly changes (the record, PersistentVolumes): `reads` remembers those for a while.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from collectionstore_operator.kubernetes.api.kinds import Body, Kind
from collectionstore_operator.kubernetes.api.permissions import SIGNER
from collectionstore_operator.kubernetes.pods import POD_SPEC, POD_STATUS
from collectionstore_operator.resource import labels

Key: TypeAlias = tuple[str, str]
"""Namespace and name of a cluster."""

OURS: Final[Mapping[str, str]] = {
    key: value for key, value in labels.selector("").items() if key in (labels.NAME, labels.COMPONENT)
}
"""What the selectors of all clusters have in common."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One kind to watch, in every watched namespace or, cluster-scoped, once."""

    kind: Kind
    trim: Callable[[Body], Body]
    group: Callable[[Body], str]
    """What reads select by: the cluster's name, or the account of a request."""
    wakes: Callable[[Body], Iterable[Key]]
    selector: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=dict)


def clusters_of(meta: Mapping[str, Any]) -> set[str]:
    """Return the clusters that an object can belong to: by its owners, and by its labels, which can be changed."""
    found = {one["name"] for one in meta.get("ownerReferences") or () if one.get("kind") == labels.KIND}
    marks = meta.get("labels") or {}
    if marks.get(labels.MANAGED_BY) == labels.FIELD_MANAGER and marks.get(labels.CLUSTER):
        found.add(marks[labels.CLUSTER])
    return found


def requesting_cluster(username: str) -> Key:
    """Return namespace and name of the cluster whose ServiceAccount a user name is; empty for other users."""
    kind, _, rest = username.rpartition("system:serviceaccount:")
    namespace, _, account = rest.partition(":")
    cluster = account.removesuffix(labels.service_account(""))
    return (namespace, cluster) if not kind and cluster != account else ("", "")


def group_asked_for(kind: Kind, selector: Mapping[str, str] | None, fields: Mapping[str, str] | None) -> str | None:
    """Return the group that a list asks for: the objects of a cluster, or all machines; None for any other list."""
    if fields:
        return None
    if not selector:
        return "" if kind is Kind.NODE else None
    name = selector.get(labels.INSTANCE, "")
    return name if name and dict(selector) == labels.selector(name) else None


def _instance(body: Body) -> str:
    """Return the cluster whose selector finds an object; empty if none does."""
    marks = body["metadata"].get("labels") or {}
    name = marks.get(labels.INSTANCE, "")
    return name if name and all(marks.get(key) == value for key, value in labels.selector(name).items()) else ""


def _waken(body: Body) -> Iterable[Key]:
    namespace = body["metadata"].get("namespace") or ""
    return ((namespace, name) for name in sorted(clusters_of(body["metadata"])))


def _itself(body: Body) -> Iterable[Key]:
    return ((body["metadata"].get("namespace") or "", body["metadata"]["name"]),)


def _requester(body: Body) -> str:
    name = (body.get("spec") or {}).get("username") or ""
    return str(name)


def _whole(body: Body) -> Body:
    return body  # with its managed fields: they tell whose a drifted field is


def _bare(body: Body) -> Body:
    """Return an object without its managed fields, which nothing is decided from for this kind."""
    metadata = {key: value for key, value in body["metadata"].items() if key != "managedFields"}
    return {**body, "metadata": metadata}


def _pod(body: Body) -> Body:
    spec, status = body.get("spec") or {}, body.get("status") or {}
    volumes = [one for one in spec.get("volumes") or () if one.get("persistentVolumeClaim")]
    kept = {key: spec[key] for key in POD_SPEC if key in spec} | {"volumes": volumes}
    return {**_bare(body), "spec": kept, "status": {key: status[key] for key in POD_STATUS if key in status}}


def _machine(body: Body) -> Body:
    """Return what tells whether a machine is lost; its heartbeats change nothing of that."""
    conditions = ((body.get("status") or {}).get("conditions")) or ()
    ready = [{"type": one["type"], "status": one["status"]} for one in conditions]
    metadata = {key: body["metadata"][key] for key in ("name", "uid", "resourceVersion") if key in body["metadata"]}
    taints = [{"key": one["key"]} for one in (body.get("spec") or {}).get("taints") or ()]
    return {"metadata": metadata, "spec": {"taints": taints}, "status": {"conditions": ready}}


def watches(namespaces: int) -> int:
    """Return how many watches run for so many namespaces, 0 for all of them."""
    return sum(max(1, namespaces) if one.kind.value.namespaced else 1 for one in WATCHED)


def _child(kind: Kind, trim: Callable[[Body], Body] = _whole) -> Watched:
    return Watched(kind, trim, _instance, _waken, OURS)


WATCHED: Final = (
    # It wakes the loop as kopf does (`handlers`), whose event may arrive before the cache has what changed.
    Watched(Kind.CLUSTER, _bare, lambda body: str(body["metadata"]["name"]), _itself),
    _child(Kind.POD, _pod),
    _child(Kind.PERSISTENT_VOLUME_CLAIM, _bare),
    _child(Kind.STATEFUL_SET),
    _child(Kind.SERVICE),
    _child(Kind.SERVICE_ACCOUNT),
    _child(Kind.POD_DISRUPTION_BUDGET),
    _child(Kind.NETWORK_POLICY),
    Watched(
        Kind.SIGNING_REQUEST,
        _bare,
        _requester,
        lambda body: (requesting_cluster(_requester(body)),),
        fields={"spec.signerName": SIGNER},
    ),
    # It wakes nothing: the pods on a lost machine do.
    Watched(Kind.NODE, _machine, lambda _: "", lambda _: ()),
)
