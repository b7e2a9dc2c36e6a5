"""Files that only this process can read: snapshots in transfer, on members whose data is encrypted.

Such a file is of no use to another process: the spool is emptied at every start. So its key is drawn at the start, and
is in memory only. AES-256-CTR, because a receiver writes at any offset; what is in it is verified by hashes of its own.
A file begins with a nonce of 16 bytes, drawn for it.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol, TypeAlias, cast

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR


class BinaryFile(Protocol):
    """An open file without a buffer, for `with`."""

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes; fewer only at the end."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Write, and return how much was written: less on a full disk."""

    def seek(self, offset: int, /) -> int:
        """Go to `offset`."""

    def tell(self) -> int:
        """Return the offset."""

    def __enter__(self) -> BinaryFile: ...

    def __exit__(self, *_: object) -> None: ...


OpenFile: TypeAlias = Callable[[Path, str], BinaryFile]
"""Opens a file without a buffer: `rb` to read, `wb` to write a new one, `r+b` to write at any place of one."""
NONCE_BYTES: Final = 16
_BLOCK_BYTES: Final = 16
_COUNTERS: Final = 1 << 128


def open_plain(path: Path, mode: str) -> BinaryFile:
    """Open a file as it is."""
    return cast(BinaryFile, path.open(mode, buffering=0))


class SealedFiles:
    """Opens files under a key that nothing but this object has."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def open(self, path: Path, mode: str) -> BinaryFile:
        """Open a file. Raises `OSError`, also for one that begins with no nonce."""
        file = open_plain(path, mode)
        try:
            if mode == "wb" or (mode == "r+b" and not path.stat().st_size):
                nonce = os.urandom(NONCE_BYTES)
                if file.write(nonce) != NONCE_BYTES:
                    raise OSError(errno.ENOSPC, "could not be written in full; is the disk full?", str(path))
            else:
                nonce = file.read(NONCE_BYTES)
                if len(nonce) < NONCE_BYTES:
                    raise OSError(errno.EINVAL, "is no file of this process", str(path))
        except BaseException:
            file.__exit__(None, None, None)
            raise
        return _SealedFile(file, self._key, nonce)


class _SealedFile:
    """A file whose content begins behind its nonce."""

    def __init__(self, file: BinaryFile, key: bytes, nonce: bytes) -> None:
        self._file = file
        self._key = key
        self._nonce = int.from_bytes(nonce)
        self._place = 0

    def seek(self, offset: int, /) -> int:
        self._place = self._file.seek(NONCE_BYTES + offset) - NONCE_BYTES
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, count: int, /) -> bytes:
        data = self._stream(self._file.read(count))
        self._place += len(data)
        return data

    def write(self, data: bytes | memoryview, /) -> int:
        written = self._file.write(self._stream(data))
        self._place += written
        return written

    def __enter__(self) -> _SealedFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.__exit__(*error)

    def _stream(self, data: bytes | memoryview) -> bytes:
        """Encrypt or decrypt what is at the present place: the same, with this mode."""
        block, skipped = divmod(self._place, _BLOCK_BYTES)
        counter = (self._nonce + block) % _COUNTERS
        cipher = Cipher(AES(self._key), CTR(counter.to_bytes(NONCE_BYTES))).encryptor()
        cipher.update(bytes(skipped))
        return cipher.update(data)
