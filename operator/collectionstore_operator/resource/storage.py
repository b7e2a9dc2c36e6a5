"""The field storage of a spec: the volume of each member."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from collectionstore_operator.resource.fields import SIZE_PATTERN, LabelKey, Labels, Part, quantity_bytes


class ReleasedVolumes(Part, frozen=True):
    """ReleasedVolumes configures what becomes of the volumes that a scale-down has released."""

    policy: Annotated[
        Literal["Keep", "Delete"],
        Meta(
            description="policy is Keep, or Delete to delete a PersistentVolumeClaim and its data once it is proved "
            "that its member has left the cluster, that all members vote and are in sync, and that no pod mounts it."
        ),
    ]
    after_seconds: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=31_536_000,
                description="afterSeconds is how long a volume is kept after its member was removed, in seconds; only "
                "with the policy Delete. If absent, 0.",
            ),
        ]
        | None
    ) = None


class Growth(Part, frozen=True):
    """Growth configures volumes that are made larger when they become full."""

    max_size: Annotated[
        str,
        Meta(
            pattern=SIZE_PATTERN,
            max_length=32,
            title="a whole size such as 100Gi",
            description="maxSize is the size beyond which no volume is made larger, such as 100Gi. At least size.",
        ),
    ]
    when_free_percent: Annotated[
        int,
        Meta(
            ge=5,
            le=50,
            description="whenFreePercent is the share of a volume, in percent, of which a member must have less free, "
            "above its reserve, for all volumes to grow. Defaults to 20.",
        ),
    ] = 20
    step_percent: Annotated[
        int,
        Meta(
            ge=10,
            le=100,
            description="stepPercent is by how much the volumes grow at a time, in percent of their size, rounded up "
            "to whole Mi, and from 10Gi on to whole Gi. Many storage systems permit one expansion in some hours. "
            "Defaults to 25.",
        ),
    ] = 25

    @property
    def max_bytes(self) -> int:
        """Return the greatest size in bytes."""
        return quantity_bytes(self.max_size)


class Encryption(Part, frozen=True):
    """Encryption configures the key that the data of the members is encrypted with at rest."""

    secret_name: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=253,
                description="secretName is the name of a Secret of which each entry is a key: 32 bytes, or 64 "
                "hexadecimal digits. The last one by name encrypts; the others are for members that have not been "
                "restarted since. A new entry, and a restart of the members, encrypts everything anew.",
            ),
        ]
        | None
    ) = None
    url: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=2_048,
                pattern=r"^(https://[^/\s]\S*|http://(127\.0\.0\.1|localhost)[:/]\S*)$",
                title="an https URL, or http on 127.0.0.1 or localhost",
                description="url is where a key management service wraps and unwraps the keys of the members instead: "
                "POST to url/wrap and url/unwrap. Over https, or http to a container of the pod.",
            ),
        ]
        | None
    ) = None


class Storage(Part, frozen=True):
    """Storage configures the persistent volume of each member."""

    size: Annotated[
        str,
        Meta(
            pattern=SIZE_PATTERN,
            max_length=32,
            title="a whole size such as 10Gi",
            description="size is the requested capacity of each member's volume, such as 10Gi. It can be increased if "
            "the StorageClass allows volume expansion, and cannot be decreased. Members are not restarted. Defaults "
            "to 10Gi.",
        ),
    ] = "10Gi"
    class_: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=253,
                description="class is the name of the StorageClass. If absent, the default StorageClass is used. "
                "Immutable.",
            ),
        ]
        | None
    ) = field(name="class", default=None)
    quota: (
        Annotated[
            str,
            Meta(
                pattern=SIZE_PATTERN,
                max_length=32,
                title="a whole size such as 8Gi",
                description="quota is the size of a member's database at which the cluster takes no more data: writes "
                "that add data are refused, reads and deletes work, until the database is a tenth smaller. At least "
                "256Mi, and less than size. If absent, the free space of the volume is the only bound. A change "
                "restarts the members, one at a time.",
            ),
        ]
        | None
    ) = None
    growth: (
        Annotated[
            Growth,
            Meta(
                description="growth makes all volumes larger, one at a time, when one becomes full, if the "
                "StorageClass allows volume expansion. Volumes of new members begin with size. size stays as it is; it "
                "is the least that volumes have. If absent, volumes grow with size alone."
            ),
        ]
        | None
    ) = None
    encryption: (
        Annotated[
            Encryption,
            Meta(
                description="encryption encrypts log, state and snapshots on the volumes. A change restarts the "
                "members, one at a time; each encrypts what it has before it serves. It cannot be removed again. If "
                "absent, nothing is encrypted by the members."
            ),
        ]
        | None
    ) = None
    retention: Annotated[
        Literal["Retain", "Delete"],
        Meta(
            description="retention determines what happens to the volume of a member that was removed or replaced, and "
            "to all volumes when the cluster is deleted. Retain keeps the PersistentVolumeClaims; Delete deletes them "
            "and their data. Defaults to Retain."
        ),
    ] = "Retain"

    released_volumes: (
        Annotated[
            ReleasedVolumes,
            Meta(
                description="releasedVolumes configures what becomes of the volumes that a scale-down has released, "
                "with retention Retain. If absent, they are kept."
            ),
        ]
        | None
    ) = None
    labels: (
        Annotated[
            Labels,
            Meta(
                description="labels are added to the PersistentVolumeClaims of the members, also to those that exist. "
                "One that is removed from here stays on them."
            ),
        ]
        | None
    ) = None
    annotations: (
        Annotated[
            dict[LabelKey, Annotated[str, Meta(max_length=4_096, title="at most 4096 characters")]],
            Meta(
                max_length=32,
                description="annotations are added to the PersistentVolumeClaims of the members, also to those that "
                "exist. One that is removed from here stays on them.",
            ),
        ]
        | None
    ) = None

    @property
    def size_bytes(self) -> int:
        """Return the size in bytes."""
        return quantity_bytes(self.size)

    @property
    def size_bytes_max(self) -> int:
        """Return the greatest size that a volume may be given, in bytes."""
        return max(self.size_bytes, self.growth.max_bytes if self.growth is not None else 0)

    @property
    def quota_bytes(self) -> int:
        """Return the quota in bytes; 0 without one."""
        return quantity_bytes(self.quota) if self.quota is not None else 0
