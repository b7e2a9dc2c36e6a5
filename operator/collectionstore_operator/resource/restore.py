"""The field restore of a spec: a backup in place of what the cluster has, without another resource."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from collectionstore_operator.resource.bootstrap import Restore
from collectionstore_operator.resource.recovery import NONCE_PATTERN


class InPlaceRestore(Restore, frozen=True):
    """InPlaceRestore names the backup that replaces what a cluster has, once status.restore was acknowledged."""

    nonce: (
        Annotated[
            str,
            Meta(
                pattern=NONCE_PATTERN,
                max_length=64,
                title="the nonce in status.restore, of 16 to 64 hexadecimal digits",
                description="nonce is copied from status.restore.nonce: it acknowledges that this backup replaces what "
                "this cluster has. Without it nothing is changed, and status.restore shows what would be lost. Any "
                "other value is ignored. After the restore it can stay, or be removed with the field.",
            ),
        ]
        | None
    ) = None
    old_volumes: (
        Annotated[
            Literal["Keep", "Delete"],
            Meta(
                description="oldVolumes determines what becomes of the volumes of all members. Keep: their "
                "PersistentVolumes stay, released, with the policy Retain. Delete: they are deleted, when every member "
                "of the restored cluster is in sync, and not before. If absent, Keep, whatever spec.storage.retention "
                "says."
            ),
        ]
        | None
    ) = None

    @property
    def source(self) -> Restore:
        """Return what is restored, without the acknowledgement."""
        return Restore(**{name: getattr(self, name) for name in Restore.__struct_fields__})

    @property
    def deletes(self) -> bool:
        """Return whether the old volumes are to be deleted in the end."""
        return self.old_volumes == "Delete"


def digest_of(restore: InPlaceRestore) -> bytes:
    """Return what an acknowledgement of it covers, as bytes: everything but the nonce."""
    return msgspec.json.encode(msgspec.structs.replace(restore, nonce=None), order="deterministic")
