"""The applied resource of a local cluster: prepares changes of it, and reads and writes it.

Takes the part of the API server for one resource: it sets the uid once, increments `metadata.generation` with every
change of the spec, and rejects a change of an immutable field before anything is written.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Literal, NamedTuple

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.errors import LocalError
from collectionstore_local.state.directory import ClusterDirectory, read_json, write_json
from collectionstore_local.state.manifest import Manifest
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired, Runtime, Spec, parse
from collectionstore_operator.resource.schema import child, without_nulls


class ChangeRefused(LocalError):
    """The change is not allowed for an existing cluster; nothing was changed."""

    exit_code = ExitCode.INVALID_RESOURCE


class AppliedResourceInvalid(LocalError):
    """resource.json is not a valid resource. csctl writes only what it has validated: the file was edited by hand."""


class Difference(NamedTuple):
    """A field that differs, with both values as text."""

    path: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}: {self.old} → {self.new}"


@dataclass(frozen=True, slots=True)
class ResourceChange:
    """A change that was prepared, with one difference for each changed field."""

    outcome: Literal["created", "configured", "unchanged"]
    changes: tuple[Difference, ...]
    resource: dict[str, Any]
    desired: Desired
    manifest: dict[str, Any] | None = None
    """The manifest, to be stored as the one applied last; None if the change is not from a manifest."""
    differs: tuple[Difference, ...] = ()
    """Where the resource keeps later changes of other commands, and so differs from the manifest."""


def prepare_apply(directory: ClusterDirectory, manifest: Manifest) -> ResourceChange:
    """Return the change that applies a manifest; nothing is written. Raises ChangeRefused."""
    old = read_json(directory.resource)
    content = _content(manifest)
    if old is None:
        return replace(_validated("created", (), _new_resource(content)), manifest=content)
    applied = read_json(directory.manifest) or {}
    metadata = _with_requests(_user_metadata(content), old, applied.get("metadata", {}).get("annotations") or {})
    return replace(_prepare_change(old, content.get("spec", {}), metadata), manifest=content)


def prepare_start(directory: ClusterDirectory, manifest: Manifest) -> ResourceChange:
    """Return the change that starts the cluster of a manifest; nothing is written. Raises ChangeRefused.

    A manifest that is the one applied last changes nothing: to start a cluster again must not undo a `scale`.
    """
    change = prepare_apply(directory, manifest)
    if change.outcome != "configured" or read_json(directory.manifest) != change.manifest:
        return change
    return replace(_validated("unchanged", (), read_json(directory.resource)), differs=change.changes)


def prepare_scale(
    directory: ClusterDirectory, replicas: int, *, unsafe: Mapping[str, bool] | None = None
) -> ResourceChange:
    """Return the change to another number of replicas; nothing is written. Raises ChangeRefused."""
    old = read_json(directory.resource)
    spec = {**old.get("spec", {}), "replicas": replicas}
    if unsafe:
        spec["unsafe"] = {**spec.get("unsafe", {}), **unsafe}
    return _prepare_change(old, spec, _user_metadata(old))


def prepare_restart(directory: ClusterDirectory) -> ResourceChange:
    """Return the change to a new restart annotation, which restarts all members one by one."""
    return _prepare_request(directory, labels.RESTART, _now())


def prepare_rotation(directory: ClusterDirectory) -> ResourceChange:
    """Return the change to a new annotation that requests a new key of the authority; no member restarts."""
    return _prepare_request(directory, labels.ROTATE_AUTHORITY, _now())


def prepare_transfer(directory: ClusterDirectory, target: str) -> ResourceChange:
    """Return the change to a new annotation that requests a transfer of leadership to a member, or to `any`."""
    # To the microsecond: two requests within a second are two requests.
    return _prepare_request(directory, labels.TRANSFER_LEADER, f"{target} {datetime.now(UTC).isoformat()}")


def prepare_edit(directory: ClusterDirectory, resource: Mapping[str, Any]) -> ResourceChange:
    """Return the change to the spec, labels and annotations of `resource`. Raises ChangeRefused."""
    return _prepare_change(read_json(directory.resource), resource.get("spec", {}), _user_metadata(resource))


def write(directory: ClusterDirectory, change: ResourceChange) -> None:
    """Write a prepared change, durably."""
    if change.outcome != "unchanged":
        write_json(directory.resource, change.resource)
    if change.manifest is not None:
        write_json(directory.manifest, change.manifest)


def read_desired(directory: ClusterDirectory) -> Desired:
    """Return the applied resource. Raises AppliedResourceInvalid."""
    return _parse_applied(read_json(directory.resource))


def _prepare_request(directory: ClusterDirectory, annotation: str, value: str) -> ResourceChange:
    old = read_json(directory.resource)
    metadata = _user_metadata(old)
    annotations = {**metadata.get("annotations", {}), annotation: value}
    return _prepare_change(old, old.get("spec", {}), {**metadata, "annotations": annotations})


def _parse_applied(resource: object) -> Desired:
    try:
        return parse(resource, runtime=Runtime.LOCAL)
    except InvalidResource as error:
        raise AppliedResourceInvalid(f"the applied resource, resource.json, is invalid: {error}") from error


def _prepare_change(old: dict[str, Any], spec: dict[str, Any], metadata: dict[str, Any]) -> ResourceChange:
    spec_changes = tuple(_differences("spec", old.get("spec", {}), spec))
    changes = spec_changes + tuple(_differences("metadata", _user_metadata(old), metadata))
    if not changes:
        return _validated("unchanged", (), old)
    generation = old["metadata"]["generation"] + (1 if spec_changes else 0)
    given = {"uid": old["metadata"]["uid"], "generation": generation}
    resource = {**old, "metadata": {**metadata, **given}, "spec": spec}
    change = _validated("configured", changes, resource)
    _check_immutable(_parse_applied(old).spec, change.desired.spec)
    return change


def _validated(
    outcome: Literal["created", "configured", "unchanged"], changes: tuple[Difference, ...], resource: dict[str, Any]
) -> ResourceChange:
    try:
        return ResourceChange(outcome, changes, resource, parse(resource, runtime=Runtime.LOCAL))
    except InvalidResource as error:
        found = "\n".join(f"{one.path}: {one.message}\n    allowed: {one.allowed}" for one in error.errors)
        raise ChangeRefused(f"{found}\nNothing was changed.") from error


def _check_immutable(old: Spec, new: Spec) -> None:
    """Reject changes of fields that are part of the members' recorded addresses."""
    found = []
    if old.local != new.local:
        found.append("spec.local: the members' ports are part of their recorded addresses")
    if old.tls.client != new.tls.client:
        found.append("spec.tls.client: the members' recorded addresses contain http or https")
    if old.tls.separate and not new.tls.separate:
        found.append("spec.tls.authorities: peers trust an authority of their own, which cannot be taken back")
    if new.bootstrap is not None and new.bootstrap != old.bootstrap:
        found.append("spec.bootstrap: it says with what a new cluster begins, and this one exists")
    if found:
        text = "\n".join(f"{one}\n    allowed: the current value; the field is immutable" for one in found)
        raise ChangeRefused(f"{text}\nNothing was changed. To start over: csctl local clean")


def _content(manifest: Manifest) -> dict[str, Any]:
    content = without_nulls(manifest.resource)
    if not isinstance(content, dict):
        raise TypeError("a manifest that was parsed is an object")
    return content


def _new_resource(content: dict[str, Any]) -> dict[str, Any]:
    given = {"uid": str(uuid.uuid4()), "generation": 1}
    return {**content, "metadata": {**_user_metadata(content), **given}, "spec": content.get("spec", {})}


def _user_metadata(resource: Mapping[str, Any]) -> dict[str, Any]:
    metadata = resource["metadata"]
    return {key: metadata[key] for key in ("name", "namespace", "labels", "annotations") if metadata.get(key)}


_REQUESTS: Final = (
    labels.RESTART,
    labels.ROTATE_AUTHORITY,
    labels.TRANSFER_LEADER,
    labels.APPROVE_UPDATE,
    labels.FENCE,
)


def _with_requests(metadata: dict[str, Any], old: Mapping[str, Any], applied: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was asked for by annotations since the manifest was applied; what was in the manifest goes with it.

    The removal of `restart` would restart every member once more, that of the others would take back what is not begun,
    or let a fenced member return.
    """
    before = old["metadata"].get("annotations", {})
    kept = {key: before[key] for key in _REQUESTS if key in before and key not in applied}
    return {**metadata, "annotations": {**kept, **metadata.get("annotations", {})}} if kept else metadata


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
