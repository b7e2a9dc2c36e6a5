"""The file KEYS of a data directory: its data keys, each wrapped by the source.

Invariants:
- a data key is in the file, durably, BEFORE anything is sealed with it;
- it leaves the file only when nothing that it has sealed is left, in a table file or a WAL;
- `resealing` is set, durably, before values are sealed anew, and goes when all are: a crash in between begins again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from collectionstore_node.errors import DataDirectoryRefused, InvariantViolated
from collectionstore_node.storage.durable_file import sync_directory, write_file
from collectionstore_node.storage.encryption.sealing import DATA_KEY_BYTES, DataKeys
from collectionstore_node.storage.encryption.sources import KeySource, Wrapped

KEYS_FILE: Final = "KEYS"
_FORMAT: Final = 1


class _Key(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    number: int
    key_id: str
    wrapped: bytes


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    keys: tuple[_Key, ...]
    """The last one seals."""
    resealing: bool
    """Whether values may be left that another key has sealed, or none."""


class KeyRing:
    """The data keys of an open directory."""

    def __init__(self, path: Path, keys: DataKeys, *, first: bool, resealing: bool, wrapped: tuple[_Key, ...]) -> None:
        self._path = path
        self.keys = keys
        self.first = first
        """Whether the directory had no key before: nothing in it is sealed yet."""
        self.resealing = resealing
        """Whether all values are to be sealed anew, by the key that seals now."""
        self._wrapped = wrapped

    def resealed(self) -> None:
        """Forget all keys but the one that seals: nothing is left of the others. Raises `OSError`."""
        self._wrapped = self._wrapped[-1:]
        _write(self._path, _File(_FORMAT, self._wrapped, resealing=False))
        self.resealing = False

    def withdraw(self) -> None:
        """Leave the directory without keys, as it was, BEFORE anything is sealed. Raises `OSError`."""
        if not self.first:
            raise InvariantViolated("what is sealed needs its keys")
        self._path.unlink()
        sync_directory(self._path.parent)


def open_ring(directory: Path, source: KeySource | None) -> KeyRing | None:
    """Return the data keys of a directory; None if it is not encrypted, and need not be. Blocks.

    Draws the first data key, and another one when the source has a new key. Raises `DataDirectoryRefused`, `OSError`.
    """
    path = directory / KEYS_FILE
    file = _read(path)
    first = file is None
    if source is None:
        if file is not None:
            raise DataDirectoryRefused(
                f"{directory} is encrypted. Give the node the keys: COLLECTIONSTORE_ENCRYPTION_KEYS_DIR, "
                "COLLECTIONSTORE_ENCRYPTION_COMMAND or COLLECTIONSTORE_ENCRYPTION_URL, as when it was written."
            )
        return None
    known = () if file is None else file.keys
    plain = {one.number: source.unwrap(Wrapped(one.key_id, one.wrapped)) for one in known}
    if any(len(key) != DATA_KEY_BYTES for key in plain.values()):
        raise DataDirectoryRefused(f"What the source of keys makes of {path} is no key of {DATA_KEY_BYTES} bytes.")
    current = source.current()
    if file is None or not known or (current is not None and known[-1].key_id != current):
        number = known[-1].number + 1 if known else 1
        plain[number] = os.urandom(DATA_KEY_BYTES)
        # All of them by the new key of the source, so that its old one is not needed any more.
        wrapped = tuple(_wrap(source, one, key) for one, key in plain.items())
        file = _File(_FORMAT, wrapped, resealing=True)
        _write(path, file)
    return KeyRing(
        path, DataKeys(plain, file.keys[-1].number), first=first, resealing=file.resealing, wrapped=file.keys
    )


def _wrap(source: KeySource, number: int, key: bytes) -> _Key:
    wrapped = source.wrap(key)
    return _Key(number, wrapped.key_id, wrapped.data)


def _read(path: Path) -> _File | None:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(data, type=_File)
    except msgspec.DecodeError as error:
        raise DataDirectoryRefused(
            f"{path} is corrupt ({error}). Without its keys nothing in the directory can be read: replace the member "
            "on an empty directory; the others send it everything."
        ) from None


def _write(path: Path, file: _File) -> None:
    write_file(path, msgspec.json.format(msgspec.json.encode(file)) + b"\n")
