"""Parsing of backups and schedules, with every validation error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from collectionstore_operator.resource.backups.names import FINALIZER, SCHEDULE
from collectionstore_operator.resource.backups.specs import BackupSpec, ScheduleSpec
from collectionstore_operator.resource.companions import common, parsed_spec
from collectionstore_operator.resource.desired import Runtime


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
        **common(metadata),
        held=FINALIZER in (metadata.get("finalizers") or ()),
        schedule=(metadata.get("labels") or {}).get(SCHEDULE, ""),
        spec=parsed_spec(resource, BackupSpec, runtime),
    )


def parse_schedule(resource: Mapping[str, Any], runtime: Runtime = Runtime.KUBERNETES) -> Schedule:
    """Return a schedule. Raises `InvalidResource` with every error; what its expressions mean is not read here."""
    return Schedule(**common(resource["metadata"]), spec=parsed_spec(resource, ScheduleSpec, runtime))
