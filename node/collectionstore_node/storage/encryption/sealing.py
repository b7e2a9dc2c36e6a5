"""Sealed values: AES-256-GCM under a data key that belongs to one data directory. Pure but for the random start.

A sealed value is MAGIC, the number of the data key (4 bytes), the nonce (12 bytes), and the ciphertext with its tag.
What it is of, and the key that it is stored under, are authenticated with it: a value that was moved does not open.
Anything that does not begin with MAGIC is plain: what was written before the directory was encrypted.

A nonce is 8 bytes, drawn by each process, and a counter: no pair of key and nonce occurs twice (NIST SP 800-38D,
8.2.1), whatever the number of writes.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from collectionstore_node.storage.corruption import Corrupted

MAGIC: Final = b"\xc1CSE"
"""No value of a node begins so: 0xc1 is the byte that MessagePack never uses, and no record format."""
DATA_KEY_BYTES: Final = 32
COUNTER_MAX: Final = 2**32
_HEAD: Final = struct.Struct(">4sI12s")
_COUNTER: Final = struct.Struct(">8sI")
_TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = _HEAD.size + _TAG_BYTES
"""What sealing adds to a value."""


class DataKeys:
    """The data keys of a directory: all that open, one that seals. From any thread."""

    __slots__ = ("_active", "_ciphers", "_nonces", "active")

    def __init__(self, keys: Mapping[int, bytes], active: int) -> None:
        """`keys` are of DATA_KEY_BYTES, by their numbers."""
        self._ciphers = {number: AESGCM(key) for number, key in keys.items()}
        self.active = active
        """Number of the key that seals."""
        self._active = self._ciphers[active]
        self._nonces = (os.urandom(8), itertools.count())
        """The random part of nonces, and what counts the other: exchanged together."""

    def seal(self, place: bytes, value: bytes) -> bytes:
        """Return `value` sealed for `place`: what it is of, and its key."""
        prefix, counter = self._nonces
        number = next(counter)
        if number >= COUNTER_MAX:
            prefix, counter = self._nonces = (os.urandom(8), itertools.count())
            number = next(counter)
        nonce = _COUNTER.pack(prefix, number)
        return _HEAD.pack(MAGIC, self.active, nonce) + self._active.encrypt(nonce, value, place)

    def open(self, place: bytes, value: bytes) -> bytes:
        """Return what was sealed; a plain value as it is. Raises `Corrupted` if it is not what was written there."""
        if value[:4] != MAGIC:
            return value
        try:
            _, number, nonce = _HEAD.unpack_from(value)
            return self._ciphers[number].decrypt(nonce, value[_HEAD.size :], place)
        except KeyError:
            raise Corrupted(f"A value is sealed with data key {number}, which is not in the file KEYS.") from None
        except (InvalidTag, struct.error):
            raise Corrupted("A sealed value is not what was written, or not where.") from None

    def is_current(self, value: bytes) -> bool:
        """Whether a stored value is sealed by the key that seals now."""
        if value[:4] != MAGIC or len(value) < OVERHEAD_BYTES:
            return False
        number: int = _HEAD.unpack_from(value)[1]
        return number == self.active
