"""The specs of CollectionStoreBackup and CollectionStoreBackupSchedule: every field with its default and its bounds.

The structs are the only source of the schemas, as those of the cluster are. Defaults are applied here and are not in
the schemas: an operator of another version may have others.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource import labels
from collectionstore_operator.resource.compute import DEFAULT_RESOURCES, Resources
from collectionstore_operator.resource.fields import Name, Part
from collectionstore_operator.resource.repository import Repository

DEADLINE_S: Final = 6 * 3_600
DEADLINE_MAX_S: Final = 86_400
"""Less than the time after which `prune` takes what has no manifest for left over."""
RATE_MIN: Final = 2 << 20
"""A member ends a backup that is read with less than half of it on average."""
RATE_MAX: Final = 1 << 40
CRON_PATTERN: Final = r"^[^ \n]+( [^ \n]+){4}$"
DURATION_PATTERN: Final = r"^[0-9]{1,6}(s|m|h|d)$"
ZONE_PATTERN: Final = r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$"

ClusterName: TypeAlias = Annotated[
    str,
    Meta(
        pattern=labels.NAME_PATTERN,
        max_length=labels.NAME_LENGTH_MAX,
        title="the name of a cluster, such as demo",
        description="clusterName is the name of the CollectionStoreCluster in the same namespace.",
    ),
]
Cron: TypeAlias = Annotated[
    str,
    Meta(
        pattern=CRON_PATTERN,
        min_length=9,
        max_length=128,
        title="five fields: minute, hour, day of the month, month, day of the week, such as 0 3 * * *",
    ),
]
Duration: TypeAlias = Annotated[
    str, Meta(pattern=DURATION_PATTERN, max_length=7, title="a number and s, m, h or d, such as 30d")
]
DeadlineSeconds: TypeAlias = Annotated[
    int,
    Meta(
        ge=60,
        le=DEADLINE_MAX_S,
        description="deadlineSeconds bounds a run, with all its attempts, in seconds: after that it has failed. "
        f"Defaults to {DEADLINE_S}.",
    ),
]
MaxBytesPerSecond: TypeAlias = Annotated[
    int,
    Meta(
        ge=RATE_MIN,
        le=RATE_MAX,
        description="maxBytesPerSecond bounds how fast a member is read, in bytes before compression. Members of a "
        "version that does not know it ignore it. If absent, a member is read as fast as it gives, which is less while "
        "its clients would notice.",
    ),
]
ServiceAccountName: TypeAlias = Annotated[
    Name,
    Meta(
        description="serviceAccountName is the name of the ServiceAccount of the pods, whose role may open the "
        "repository. No token of it is mounted. Defaults to default."
    ),
]
PodResources: TypeAlias = Annotated[
    Resources,
    Meta(
        description="resources are the compute resources of the pods. Defaults to requests of 100m cpu and 256Mi "
        "memory and a limit of 1Gi memory."
    ),
]
DeletionPolicy: TypeAlias = Literal["Retain", "Delete"]


class BackupSpec(Part, frozen=True):
    """Desired backup: one run. Immutable, except deletionPolicy."""

    cluster_name: ClusterName
    repository: Annotated[Repository, Meta(description="repository is where the backup is stored.")]
    deadline_seconds: DeadlineSeconds = DEADLINE_S
    max_bytes_per_second: MaxBytesPerSecond | None = None
    deletion_policy: Annotated[
        DeletionPolicy,
        Meta(
            description="deletionPolicy determines what becomes of the stored data when the resource is deleted. "
            "Retain: they stay. Delete: they are deleted first, by a Job; if that fails, the resource stays until it "
            "succeeds or this field is set to Retain. Defaults to Retain."
        ),
    ] = "Retain"
    service_account_name: ServiceAccountName = "default"
    resources: PodResources = field(default_factory=lambda: DEFAULT_RESOURCES)


class Retention(Part, frozen=True):
    """Retention determines which backups of the cluster stay in the repository; the newest intact one always does."""

    keep_last: Annotated[
        int,
        Meta(ge=1, le=1_000, description="keepLast is the number of newest backups that stay. Defaults to 7."),
    ] = 7
    keep_within: Annotated[
        Duration,
        Meta(description="keepWithin keeps all backups that are younger, such as 30d, besides. Defaults to 0s."),
    ] = "0s"


class ScheduleSpec(Part, frozen=True):
    """Desired schedule of the backups of a cluster."""

    cluster_name: ClusterName
    schedule: Annotated[
        Cron,
        Meta(
            description="schedule is a cron expression of five fields: minute, hour, day of the month, month, day of "
            "the week, such as 0 3 * * *. A run that was missed is made up for once. A run begins only when the one "
            "before has ended."
        ),
    ]
    repository: Annotated[Repository, Meta(description="repository is where the backups are stored.")]
    time_zone: Annotated[
        str,
        Meta(
            pattern=ZONE_PATTERN,
            max_length=64,
            title="a time zone such as Europe/Berlin",
            description="timeZone is the time zone of schedule and drill, by its name in the IANA database. Defaults "
            "to UTC.",
        ),
    ] = "UTC"
    suspend: Annotated[
        bool,
        Meta(
            description="suspend stops further backups, retention and drills; what runs ends, and an archive goes on. "
            "Defaults to false."
        ),
    ] = False
    immediate: Annotated[
        bool,
        Meta(description="immediate makes the first backup as soon as the schedule exists. Defaults to false."),
    ] = False
    retention: (
        Annotated[
            Retention,
            Meta(
                description="retention determines which backups of the cluster stay in the repository, and for how "
                "many there are resources. If absent, nothing is deleted from the repository, and 100 resources stay."
            ),
        ]
        | None
    ) = None
    deadline_seconds: DeadlineSeconds = DEADLINE_S
    max_bytes_per_second: MaxBytesPerSecond | None = None
    archive: Annotated[
        bool,
        Meta(
            description="archive stores the log of the cluster continuously behind the newest backup, for restores to "
            "a point in time. Defaults to false."
        ),
    ] = False
    drill: (
        Annotated[
            Cron,
            Meta(
                description="drill is the cron expression of restore drills: the newest backup is restored into a "
                "throwaway directory and compared with its manifest. If absent, there are none."
            ),
        ]
        | None
    ) = None
    service_account_name: ServiceAccountName = "default"
    resources: PodResources = field(default_factory=lambda: DEFAULT_RESOURCES)
