"""A copy of a member's data directory becomes the first member of a new cluster: what a snapshot of a volume holds.

A storage system copies a volume as it is at one moment, while its member runs: to the node that is a crash, which every
directory survives. What is missing for a new cluster is what a recovery does for a survivor (`rewrite`), so that is
what is done, with two differences: the member gets the name of its new place, and the fencing epoch begins again, since
no operator of the old cluster knows of this one. Whose data it is says the directory itself.
"""

from __future__ import annotations

from pathlib import Path

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.recovery import mark as marks
from collectionstore_node.recovery.instruction import Instruction
from collectionstore_node.recovery.rewrite import NewIdentity, Recovered, recover
from collectionstore_node.storage.database import RECOVERING
from collectionstore_node.storage.encryption.sources import KeySource
from collectionstore_node.storage.identity import read_identity


def adopt(directory: Path, nonce: str, new: NewIdentity, source: KeySource | None = None) -> Recovered:
    """Make `directory` that of `new.name`, the only voter of a new cluster; complete what an earlier call began.

    `nonce` tells this request from others: 16 to 64 hexadecimal digits, the same when the call is repeated. All that
    the member had stored is kept, also the end of its log of which it did not know whether it was committed. Raises
    `DataDirectoryRefused`, with nothing changed, if there is no data, or it is damaged, of the new cluster already by
    another way, or adopted for another nonce; `StorageFailed` on an I/O error.
    """
    identity = read_identity(directory)
    if identity is None:
        raise DataDirectoryRefused(f"{directory} has no data of a member: there is nothing to adopt.")
    for file in (RECOVERING, marks.RECOVERED):
        begun = marks.read(directory, file)
        # A mark of the cluster before is a part of what was copied.
        if begun is not None and begun.cluster_id == new.cluster_id:
            whose = Instruction(begun.name, int(begun.from_node, 16), begun.from_cluster, nonce)
            return recover(directory, whose, new, source=source)
    whose = Instruction(identity.name, identity.node_id, identity.cluster_id, nonce)
    return recover(directory, whose, new, source=source)
