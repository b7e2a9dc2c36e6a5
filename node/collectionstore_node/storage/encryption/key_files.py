"""`KeyFiles`: a directory whose files each hold a key of 32 bytes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from collectionstore_node.errors import DataDirectoryRefused

KEY_BYTES: Final = 32
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64}\s*")


class KeyFiles:
    """The keys in a directory, read at each use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def newest(self) -> str:
        """Return the last name in order. Raises `DataDirectoryRefused` when there is none."""
        try:
            # A mounted Secret has links and directories of its own beside its keys; their names begin with a dot.
            names = sorted(one.name for one in self.path.iterdir() if _NAME.fullmatch(one.name) and one.is_file())
        except OSError as error:
            raise DataDirectoryRefused(
                f"The encryption keys in {self.path} cannot be read: {error.strerror}."
            ) from None
        if not names:
            raise DataDirectoryRefused(f"{self.path} has no encryption key. {_HOW}")
        return names[-1]

    def read(self, name: str) -> bytes:
        """Return the key called `name`. Raises `DataDirectoryRefused` if it is not there, or is no key."""
        try:
            content = (self.path / name).read_bytes() if _NAME.fullmatch(name) else b""
        except OSError as error:
            raise DataDirectoryRefused(
                f"The encryption key {name}, which this data directory needs, cannot be read in {self.path}: "
                f"{error.strerror}. Put it back; a key may go only when no member needs it any more."
            ) from None
        if _HEX.fullmatch(content):
            return bytes.fromhex(content.decode())
        if len(content) == KEY_BYTES:
            return content
        raise DataDirectoryRefused(f"{self.path / name} holds {len(content)} bytes, which is no encryption key. {_HOW}")


_HOW: Final = f"A key is 64 hexadecimal digits, or exactly {KEY_BYTES} bytes: openssl rand -hex {KEY_BYTES} > FILE."
