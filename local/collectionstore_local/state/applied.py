"""The applied resource of a local cluster: how a manifest becomes one, what differs, and how replicas are changed.

Plays the API server for one resource: `metadata.generation` counts changes of the spec, uid and creation time are
given once, and what may not change on a living cluster is refused before anything is written.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from collectionstore_local.errors import ExitCode, LocalError
from collectionstore_local.state.directory import ClusterDirectory, read_json, write_json
from collectionstore_local.state.manifest import Manifest
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Runtime, Spec, parse
from collectionstore_operator.resource.schema import child, without_nulls


class ChangeRefused(LocalError):
    """The change is not allowed on a cluster that exists; nothing was changed."""

    exit_code = ExitCode.INVALID_RESOURCE


class Difference(NamedTuple):
    """A field that differs, with both values as text."""

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} → {self.new}"


@dataclass(frozen=True, slots=True)
class Applied:
    """What applying came to, with one difference for each changed field."""

    outcome: Literal["created", "configured", "unchanged"]
    changes: tuple[Difference, ...]
    resource: dict[str, Any]
    desired: Desired
    manifest: dict[str, Any] | None = None
    """What was applied, to be remembered; None when it was no manifest."""
    differs: tuple[Difference, ...] = ()
    """Where the resource, changed by other commands since, is left to differ from the manifest."""


def prepare(directory: ClusterDirectory, manifest: Manifest) -> Applied:
    """Return what applying a manifest would come to; nothing is written. Raises ChangeRefused."""
    old = read_json(directory.resource)
    wanted = _content(manifest)
    if old is None:
        return replace(_applied("created", (), _new_resource(wanted)), manifest=wanted)
    change = _prepare_change(old, wanted.get("spec", {}), _with_restart(_user_metadata(wanted), old))
    return replace(change, manifest=wanted)


def prepare_start(directory: ClusterDirectory, manifest: Manifest) -> Applied:
    """Return what starting the cluster of a manifest would come to; as `prepare`, unless it was applied already.

    Then what other commands have changed since stays as it is: to start a cluster again must not shrink it to the
    size it had once.
    """
    change = prepare(directory, manifest)
    if change.outcome != "configured" or read_json(directory.manifest) != change.manifest:
        return change
    return replace(_applied("unchanged", (), read_json(directory.resource)), differs=change.changes)


def prepare_scale(directory: ClusterDirectory, replicas: int, *, unsafe: Mapping[str, bool] | None = None) -> Applied:
    """Return what another number of replicas would come to; nothing is written. Raises ChangeRefused."""
    old = read_json(directory.resource)
    spec = {**old.get("spec", {}), "replicas": replicas}
    if unsafe:
        spec["unsafe"] = {**spec.get("unsafe", {}), **unsafe}
    return _prepare_change(old, spec, _user_metadata(old))


def prepare_restart(directory: ClusterDirectory) -> Applied:
    """Return the resource with a new restart annotation: all members restart, one after the other."""
    old = read_json(directory.resource)
    metadata = _user_metadata(old)
    annotations = {**metadata.get("annotations", {}), labels.RESTART: _now()}
    return _prepare_change(old, old.get("spec", {}), {**metadata, "annotations": annotations})


def write(directory: ClusterDirectory, applied: Applied) -> None:
    """Make the prepared resource the applied one, durably."""
    if applied.outcome != "unchanged":
        write_json(directory.resource, applied.resource)
    if applied.manifest is not None:
        write_json(directory.manifest, applied.manifest)


def read_desired(directory: ClusterDirectory) -> Desired:
    """Return the applied resource as understood."""
    return parse(read_json(directory.resource), runtime=Runtime.LOCAL)


def _prepare_change(old: dict[str, Any], spec: dict[str, Any], metadata: dict[str, Any]) -> Applied:
    spec_changes = tuple(_differences("spec", old.get("spec", {}), spec))
    changes = spec_changes + tuple(_differences("metadata", _user_metadata(old), metadata))
    if not changes:
        return _applied("unchanged", (), old)
    generation = old["metadata"]["generation"] + (1 if spec_changes else 0)
    given = {"uid": old["metadata"]["uid"], "generation": generation}
    resource = {**old, "metadata": {**metadata, **given}, "spec": spec}
    applied = _applied("configured", changes, resource)
    _check_immutable(parse(old, runtime=Runtime.LOCAL).spec, applied.desired.spec)
    return applied


def _applied(
    outcome: Literal["created", "configured", "unchanged"], changes: tuple[Difference, ...], resource: dict[str, Any]
) -> Applied:
    try:
        return Applied(outcome, changes, resource, parse(resource, runtime=Runtime.LOCAL))
    except InvalidResource as error:
        faults = "\n".join(f"{one.path}: {one.message}\n    allowed: {one.allowed}" for one in error.errors)
        raise ChangeRefused(f"{faults}\nNothing was changed.") from error


def _check_immutable(old: Spec, new: Spec) -> None:
    """Refuse what members' recorded addresses rest on."""
    faults = []
    if old.local != new.local:
        faults.append("spec.local: the members' ports are part of their recorded addresses")
    if old.tls.client != new.tls.client:
        faults.append("spec.tls.client: the members' recorded addresses say http or https")
    if faults:
        text = "\n".join(f"{fault}\n    allowed: the value it has, as long as the cluster exists" for fault in faults)
        raise ChangeRefused(f"{text}\nNothing was changed. To begin anew: csctl local clean")


def _content(manifest: Manifest) -> dict[str, Any]:
    wanted = without_nulls(manifest.resource)
    if not isinstance(wanted, dict):
        raise TypeError("a manifest that was parsed is an object")
    return wanted


def _new_resource(wanted: dict[str, Any]) -> dict[str, Any]:
    given = {"uid": str(uuid.uuid4()), "generation": 1}
    return {**wanted, "metadata": {**_user_metadata(wanted), **given}, "spec": wanted.get("spec", {})}


def _user_metadata(resource: Mapping[str, Any]) -> dict[str, Any]:
    metadata = resource["metadata"]
    return {key: metadata[key] for key in ("name", "namespace", "labels", "annotations") if metadata.get(key)}


def _with_restart(metadata: dict[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the annotation of an earlier `restart`: taking it away would restart every member once more."""
    kept = old["metadata"].get("annotations", {}).get(labels.RESTART)
    if kept is None:
        return metadata
    return {**metadata, "annotations": {labels.RESTART: kept, **metadata.get("annotations", {})}}


def _differences(path: str, old: object, new: object) -> Iterator[Difference]:
    if isinstance(old, Mapping | None) and isinstance(new, Mapping | None) and old != new:
        old, new = old or {}, new or {}
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _differences(child(path, key), old.get(key), new.get(key))
    elif old != new:
        yield Difference(path, _shown(old), _shown(new))


def _shown(value: object) -> str:
    return "(default)" if value is None else str(value)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
