"""`EncryptionSettings`: which source of keys a data directory has."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from collectionstore_node.storage.encryption.sources import DirectoryOfKeys, KeyCommand, KeyService, KeySource


class EncryptionSettings(NamedTuple):
    """Where the key is that wraps the data keys: one of three places, or none for a directory that is not encrypted."""

    keys_dir: Path | None = None
    command: tuple[str, ...] = ()
    url: str = ""
    token_file: Path | None = None
    """For `url`."""

    def source(self) -> KeySource | None:
        """Return the source; None for none."""
        if self.keys_dir is not None:
            return DirectoryOfKeys(self.keys_dir)
        if self.command:
            return KeyCommand(self.command)
        return KeyService(self.url, self.token_file) if self.url else None


NOT_ENCRYPTED: Final = EncryptionSettings()
