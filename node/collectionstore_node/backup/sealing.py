"""Encryption of what is stored: AES-256-GCM under keys that are derived anew for every backup. Pure.

One key per repository, of 32 bytes, from a file. Each backup, and each run of the archive, draws a salt; HKDF-SHA256
(RFC 5869) of key and salt gives a key for its data and one for its manifest. So the number of a part may be its nonce:
no pair of key and nonce occurs twice (NIST SP 800-38D, 8.2.1). The name of a part is authenticated with it: parts that
change places, within a backup or between two, do not open.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import Final, Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from collectionstore_node.backup.errors import Corrupt, CredentialsRefused, InvalidUse

KEY_BYTES: Final = 32
SALT_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_HEX: Final = re.compile(rb"[0-9A-Fa-f]{64}\s*")


class Encryption(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the parts of a backup are encrypted. `key_id` tells which key it was, and nothing about it."""

    cipher: Literal["AES-256-GCM"]
    kdf: Literal["HKDF-SHA256"]
    salt: str
    key_id: str


class Sealer:
    """The keys of one backup."""

    def __init__(self, key: bytes, salt: bytes) -> None:
        """`salt` is random and used for this backup only."""
        self.description = Encryption("AES-256-GCM", "HKDF-SHA256", salt.hex(), _derive(key, salt, b"key id")[:8].hex())
        self._data = AESGCM(_derive(key, salt, b"data"))
        self._manifest = _derive(key, salt, b"manifest")

    @classmethod
    def of(cls, encryption: Encryption, key: bytes) -> Sealer:
        """Return the keys of an existing backup. Raises `CredentialsRefused` if it was made with another key."""
        try:
            sealer = cls(key, bytes.fromhex(encryption.salt))
        except ValueError:
            raise Corrupt("the salt in the manifest is not hexadecimal") from None
        if not hmac.compare_digest(sealer.description.key_id, encryption.key_id):
            raise CredentialsRefused(
                f"the key is not the one of the backup, whose key ID is {encryption.key_id}; with this key it would be "
                f"{sealer.description.key_id}"
            )
        return sealer

    def seal(self, number: int, name: str, data: bytes) -> bytes:
        """Return the ciphertext of part `number`, which is 16 bytes longer."""
        return self._data.encrypt(number.to_bytes(_NONCE_BYTES, "big"), data, name.encode())

    def open(self, number: int, name: str, data: bytes) -> bytes:
        """Return the plaintext of part `number`. Raises `Corrupt` if anything about it was changed."""
        try:
            return self._data.decrypt(number.to_bytes(_NONCE_BYTES, "big"), data, name.encode())
        except InvalidTag:
            raise Corrupt(f"{name} cannot be decrypted: it is not what was written, or not in its place") from None

    def sign(self, data: bytes) -> str:
        """Return the authentication code of a manifest, in hexadecimal."""
        return hmac.new(self._manifest, data, sha256).hexdigest()


def parse_key(content: bytes, where: str) -> bytes:
    """Return the key in a file: 64 hexadecimal digits, or 32 bytes as they are. Raises `InvalidUse`."""
    if _HEX.fullmatch(content):
        return bytes.fromhex(content.decode())
    if len(content) == KEY_BYTES:
        return content
    raise InvalidUse(
        f"{where} holds {len(content)} bytes; a key is 64 hexadecimal digits, or exactly {KEY_BYTES} bytes. "
        f"Make one: openssl rand -hex {KEY_BYTES} > FILE"
    )


def _derive(key: bytes, salt: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, salt, b"collectionstore backup " + purpose).derive(key)
