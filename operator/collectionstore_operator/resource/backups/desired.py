"""Parsing of backups and schedules, with every validation error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource import rules, schema
from collectionstore_operator.resource.backups.names import FINALIZER, SCHEDULE
from collectionstore_operator.resource.backups.specs import BackupSpec, ScheduleSpec
from collectionstore_operator.resource.desired import Runtime

_Spec = TypeVar("_Spec", bound=msgspec.Struct)


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A valid CollectionStoreBackup."""

    name: str
    namespace: str
    uid: str
    generation: int
    created: str
    """RFC 3339."""
    deleting: bool
    held: bool
    """Whether our finalizer is on it."""
    schedule: str
    """The schedule that made it; empty for one that was created by hand."""
    spec: BackupSpec


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A valid CollectionStoreBackupSchedule."""

    name: str
    namespace: str
    uid: str
    generation: int
    created: str
    deleting: bool
    spec: ScheduleSpec


def parse_backup(resource: Mapping[str, Any], runtime: Runtime = Runtime.KUBERNETES) -> Backup:
    """Return a backup. Raises `InvalidResource` with every error."""
    metadata = resource["metadata"]
    return Backup(
        **_common(metadata),
        held=FINALIZER in (metadata.get("finalizers") or ()),
        schedule=(metadata.get("labels") or {}).get(SCHEDULE, ""),
        spec=_spec(resource, BackupSpec, runtime),
    )


def parse_schedule(resource: Mapping[str, Any], runtime: Runtime = Runtime.KUBERNETES) -> Schedule:
    """Return a schedule. Raises `InvalidResource` with every error; what its expressions mean is not read here."""
    return Schedule(**_common(resource["metadata"]), spec=_spec(resource, ScheduleSpec, runtime))


def _common(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace", "default"),
        "uid": metadata.get("uid", ""),
        "generation": metadata.get("generation", 1),
        "created": metadata.get("creationTimestamp") or "1970-01-01T00:00:00Z",
        "deleting": "deletionTimestamp" in metadata,
    }


def _spec(resource: Mapping[str, Any], struct: type[_Spec], runtime: Runtime) -> _Spec:
    metadata = resource["metadata"]
    spec, errors = schema.convert(resource.get("spec") or {}, struct, "spec")
    # A rule that is newer than a stored resource must not keep it from being deleted.
    if spec is not None and "deletionTimestamp" not in metadata:
        platform = rules.KUBERNETES_RULES if runtime is Runtime.KUBERNETES else rules.LOCAL_RULES
        errors = [*rules.violations(spec, "spec"), *rules.violations(spec, "spec", platform)]
    if errors or spec is None:
        raise InvalidResource(errors, generation=metadata.get("generation", 0))
    return spec
