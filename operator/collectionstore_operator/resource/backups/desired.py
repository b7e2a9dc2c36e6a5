"""Parsing of backups and schedules, with every validation error, and the rules between their fields.

The rules are here in Python and in CEL side by side, as those of the cluster are (`resource.rules`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from collectionstore_operator.errors import FieldError, InvalidResource
from collectionstore_operator.resource import rules, schema
from collectionstore_operator.resource.backups.names import FINALIZER, SCHEDULE
from collectionstore_operator.resource.backups.specs import BackupSpec, ScheduleSpec
from collectionstore_operator.resource.repository import Repository

MOUNT: Final = "/repository"
"""Where the volume of a file URL is mounted."""
_FILE: Final = "file://"

_Spec = TypeVar("_Spec", bound=msgspec.Struct)


class SpecRule(NamedTuple):
    """A rule for the repository of a spec, in CEL; `broken` says in Python whether a repository breaks it."""

    field: str
    cel: str
    message: str
    allowed: str


_CLAIM: Final = SpecRule(
    "repository.claimName",
    "self.repository.url.startsWith('file://') == has(self.repository.claimName)",
    "a file URL is a path on a volume, and no other URL is",
    "the name of a PersistentVolumeClaim with a file URL, absent with any other",
)
_PLACE: Final = SpecRule(
    "repository.url",
    f"!self.repository.url.startsWith('file://') || self.repository.url == 'file://{MOUNT}' || "
    f"(self.repository.url.startsWith('file://{MOUNT}/') && !self.repository.url.contains('/..'))",
    f"the volume of claimName is mounted at {MOUNT}",
    f"file://{MOUNT} or a path below it",
)
SPEC_RULES: Final = (_CLAIM, _PLACE)


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


def parse_backup(resource: Mapping[str, Any]) -> Backup:
    """Return a backup. Raises `InvalidResource` with every error."""
    metadata = resource["metadata"]
    return Backup(
        **_common(metadata),
        held=FINALIZER in (metadata.get("finalizers") or ()),
        schedule=(metadata.get("labels") or {}).get(SCHEDULE, ""),
        spec=_spec(resource, BackupSpec),
    )


def parse_schedule(resource: Mapping[str, Any]) -> Schedule:
    """Return a schedule. Raises `InvalidResource` with every error; what its expressions mean is not read here."""
    return Schedule(**_common(resource["metadata"]), spec=_spec(resource, ScheduleSpec))


def _common(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace", "default"),
        "uid": metadata.get("uid", ""),
        "generation": metadata.get("generation", 1),
        "created": metadata.get("creationTimestamp") or "1970-01-01T00:00:00Z",
        "deleting": "deletionTimestamp" in metadata,
    }


def _spec(resource: Mapping[str, Any], struct: type[_Spec]) -> _Spec:
    generation = resource["metadata"].get("generation", 0)
    spec, errors = schema.convert(resource.get("spec") or {}, struct, "spec")
    if spec is not None:
        place: Repository = spec.repository  # type: ignore[attr-defined]  # both specs have one
        errors = [*repository_errors(place), *rules.violations(spec, "spec")]
    if errors or spec is None:
        raise InvalidResource(errors, generation=generation)
    return spec


def repository_errors(repository: Repository) -> list[FieldError]:
    """Return what is wrong with a repository on Kubernetes."""
    in_file = repository.url.startswith(_FILE)
    broken = []
    if in_file != (repository.claim_name is not None):
        broken.append(_CLAIM)
    path = repository.url.removeprefix(_FILE)
    if in_file and path != MOUNT and (not path.startswith(f"{MOUNT}/") or "/.." in path):
        broken.append(_PLACE)
    return [FieldError(f"spec.{one.field}", one.message, one.allowed) for one in broken]
