"""The CustomResourceDefinitions of backups and schedules."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import msgspec

from collectionstore_operator.crd.openapi import Schema, struct_schema, without_defaults
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.specs import BackupSpec, ScheduleSpec
from collectionstore_operator.resource.rules import quoted
from collectionstore_operator.status.backups.backup_status import BackupStatus
from collectionstore_operator.status.backups.schedule_fields import ScheduleStatus

CATEGORY: Final = "collectionstore"


class Column(NamedTuple):
    """A printer column; priority 1 for one that only `-o wide` shows."""

    name: str
    type: str
    path: str
    description: str
    priority: int = 0


class CompanionResource(NamedTuple):
    """A kind of resource beside clusters."""

    kind: str
    plural: str
    short_name: str
    description: str
    spec: type[msgspec.Struct]
    spec_description: str
    status: type[msgspec.Struct]
    name_max: int
    columns: tuple[Column, ...]
    immutable: tuple[str, ...]
    """Fields of the spec that cannot be changed."""
    named_after_it: str = "Jobs are"
    taken: tuple[str, ...] = ()
    """Names that none may have."""


def condition_path(kind: str, field: str) -> str:
    """Return the JSONPath of a field of a condition."""
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


BACKUP: Final = CompanionResource(
    kind=names.BACKUP_KIND,
    plural=names.BACKUP_PLURAL,
    short_name="csb",
    description="CollectionStoreBackup is one backup of a CollectionStoreCluster: it is made once, and verified.",
    spec=BackupSpec,
    spec_description="Desired backup. Immutable, except deletionPolicy.",
    status=BackupStatus,
    name_max=names.BACKUP_NAME_MAX,
    columns=(
        Column("Cluster", "string", ".spec.clusterName", "Cluster that is backed up."),
        Column("Complete", "string", condition_path("Complete", "status"), "Status of the condition Complete."),
        Column("Reason", "string", condition_path("Complete", "reason"), "Reason of that condition."),
        Column("Revision", "integer", ".status.revision", "Revision of the store that the backup holds."),
        Column("Bytes", "integer", ".status.sizeBytes", "Size of the stored data, in bytes."),
        Column("Completed", "date", ".status.completedAt", "Time since the run completed or failed."),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
        Column("Backup", "string", ".status.backupID", "ID of the backup in its repository.", 1),
        Column("Member", "string", ".status.member", "Member that was read.", 1),
        Column("Seconds", "integer", ".status.durationSeconds", "Duration of the run, in seconds.", 1),
    ),
    immutable=(
        "clusterName",
        "repository",
        "deadlineSeconds",
        "maxBytesPerSecond",
        "serviceAccountName",
        "resources",
    ),
)
SCHEDULE: Final = CompanionResource(
    kind=names.SCHEDULE_KIND,
    plural=names.SCHEDULE_PLURAL,
    short_name="csbs",
    description="CollectionStoreBackupSchedule makes backups of a CollectionStoreCluster at the times of a cron "
    "expression, archives its log, and tries restores.",
    spec=ScheduleSpec,
    spec_description="Desired schedule.",
    status=ScheduleStatus,
    name_max=names.SCHEDULE_NAME_MAX,
    columns=(
        Column("Cluster", "string", ".spec.clusterName", "Cluster that is backed up."),
        Column("Schedule", "string", ".spec.schedule", "Cron expression."),
        Column("Suspend", "boolean", ".spec.suspend", "Whether the schedule is suspended."),
        Column("Ready", "string", condition_path("Ready", "status"), "Status of the condition Ready."),
        Column("Reason", "string", condition_path("Ready", "reason"), "Reason of the condition Ready."),
        Column("LastBackup", "date", ".status.lastSuccessTime", "Age of the newest complete backup."),
        Column("Verified", "date", ".status.lastVerified", "Time since a restore was tried with success."),
        Column("Age", "date", ".metadata.creationTimestamp", "Time since creation."),
        Column("Bytes", "integer", ".status.sizeBytes", "Size of the newest backup, in bytes.", 1),
        Column("Seconds", "integer", ".status.durationSeconds", "Duration of the newest backup, in seconds.", 1),
        Column("ArchiveLag", "integer", ".status.archiveLagEntries", "Log entries that are not archived yet.", 1),
        Column("Restore", "integer", ".status.timeToRestoreSeconds", "Measured time to restore, in seconds.", 1),
    ),
    immutable=("clusterName",),
)
RESOURCES: Final = (BACKUP, SCHEDULE)


def definition(resource: CompanionResource) -> dict[str, Any]:
    """Return a CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{labels.GROUP}"},
        "spec": {
            "group": labels.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": [resource.short_name],
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": labels.VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _root(resource)},
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {
                            "name": one.name,
                            "type": one.type,
                            "jsonPath": one.path,
                            "description": one.description,
                            "priority": one.priority,
                        }
                        for one in resource.columns
                    ],
                }
            ],
        },
    }


def _root(resource: CompanionResource) -> Schema:
    spec = {"description": resource.spec_description, **without_defaults(struct_schema(resource.spec))}
    rules = [
        {
            "rule": f"has(self.{field}) == has(oldSelf.{field}) && "
            f"(!has(self.{field}) || self.{field} == oldSelf.{field})",
            "message": f"{field} is immutable; allowed: the current value",
            "fieldPath": f".{field}",
        }
        for field in resource.immutable
    ]
    name_rule = (
        f"self.metadata.name.size() <= {resource.name_max} && self.metadata.name.matches({quoted(labels.NAME_PATTERN)})"
    )
    name_message = (
        f"the name is invalid, because {resource.named_after_it} named after it; allowed: at most "
        f"{resource.name_max} of a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
    )
    taken = ", ".join(map(quoted, resource.taken))
    free_rule = {
        "rule": f"!(self.metadata.name in [{taken}])",
        "message": f"every cluster has one of this name; allowed: any name except {', '.join(resource.taken)}",
        "fieldPath": ".metadata.name",
    }
    return {
        "description": resource.description,
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {
                "description": f"apiVersion is the version of this schema: {labels.API_VERSION}.",
                "type": "string",
            },
            "kind": {
                "description": f"kind is the REST resource this object represents: {resource.kind}.",
                "type": "string",
            },
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": {**spec, "x-kubernetes-validations": [*spec.get("x-kubernetes-validations", ()), *rules]},
            "status": {"description": "Observed state.", **without_defaults(struct_schema(resource.status))},
        },
        "x-kubernetes-validations": [
            {"rule": name_rule, "message": name_message, "fieldPath": ".metadata.name"},
            *([free_rule] if resource.taken else []),
        ],
    }
