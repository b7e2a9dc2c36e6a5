"""What a data directory records of its recovery: RECOVERING while it is rewritten, RECOVERED ever after.

RECOVERING is a redo record: with it, and with what the directory holds, an interrupted rewrite is completed. It is
written only after all the data was found to be whole. RECOVERED keeps the nonce, so that a second instruction is
recognized as one for another recovery.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.storage.database import RECOVERING
from collectionstore_node.storage.durable_file import sync_directory, write_file

RECOVERED: Final = "RECOVERED"


class Mark(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A recovery: from which incarnation of which cluster, to which. Node IDs are 16 hexadecimal digits."""

    nonce: str
    name: str
    from_cluster: str
    from_node: str
    cluster_id: str
    node_id: str
    bump_revision: int
    renamed: str = ""
    """What the member is called in the new cluster; empty if as before."""

    @property
    def new_name(self) -> str:
        """Return what the member is called in the new cluster."""
        return self.renamed or self.name


def read(directory: Path, file: str) -> Mark | None:
    """Return one of the two marks; None if there is none. Raises `DataDirectoryRefused` if it is damaged."""
    path = directory / file
    try:
        return msgspec.json.decode(path.read_bytes(), type=Mark)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise DataDirectoryRefused(
            f"{path} is corrupt ({error}), so it is unknown how far the recovery of this directory has come. "
            "Recover another survivor, or restore a backup."
        ) from error


def begin(directory: Path, mark: Mark) -> None:
    """Write RECOVERING durably. Raises `OSError`."""
    write_file(directory / RECOVERING, _encoded(mark))


def complete(directory: Path, mark: Mark) -> None:
    """Write RECOVERED, and THEN remove RECOVERING: at no time is there neither. Raises `OSError`."""
    write_file(directory / RECOVERED, _encoded(mark))
    (directory / RECOVERING).unlink(missing_ok=True)
    sync_directory(directory)


def _encoded(mark: Mark) -> bytes:
    return msgspec.json.format(msgspec.json.encode(mark)) + b"\n"
