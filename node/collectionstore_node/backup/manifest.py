"""The manifest of a backup: what it is of, where in the history, and every part with its hash. Pure.

Written last, so that its presence means that the backup is complete. The file holds the manifest, the SHA-256 of its
bytes as they stand there, and with encryption an authentication code of the same bytes.
"""

from __future__ import annotations

import hmac
import re
from hashlib import sha256
from typing import Annotated, Final, Literal

import msgspec

from collectionstore_node.backup.errors import Corrupt, CredentialsRefused
from collectionstore_node.backup.parts import PART_BYTES_MAX, PARTS_MAX, STORED_OVERHEAD_MAX, Part
from collectionstore_node.backup.sealing import Encryption, Sealer

TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
"""RFC 3339 in UTC, by the second."""
FORMAT: Final = 1
MANIFEST_BYTES_MAX: Final = 256 << 20
ID: Final = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{8}")
"""Time of the start, in UTC, and a random number: sorts by time, and two runs never write to the same place."""

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
_Hash = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A complete backup."""

    format: Literal[1] = FORMAT
    id: str
    started_at: str
    """RFC 3339, UTC, by the clock of the machine that made it; as `finished_at`."""
    finished_at: str
    cluster_id: str
    node_id: str
    """The member that was read: its incarnation, and its name."""
    member: str
    from_leader: bool
    version: str
    """Of that member."""
    term: _Count
    applied_index: _Count
    revision: _Count
    chain: _Hash
    """Hash of the history up to `applied_index`: what the archived log continues."""
    time_ms: _Count
    """Replicated time of the state, in milliseconds since 1970 UTC."""
    feature_level: _Count
    state_digest: _Hash
    records: _Count
    content_bytes: _Count
    """Of keys and values."""
    stream_bytes: _Count
    stream_sha256: _Hash
    compression: Literal["zstd"] = "zstd"
    encryption: Encryption | None
    parts: tuple[Part, ...]

    @property
    def stored_bytes(self) -> int:
        """Size of all parts as they are stored."""
        return sum(part.stored_bytes for part in self.parts)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    manifest: msgspec.Raw
    sha256: str
    hmac_sha256: str | None


def encode_manifest(manifest: Manifest, sealer: Sealer | None) -> bytes:
    """Return the file of a manifest."""
    body = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    file = _File(msgspec.Raw(body), sha256(body).hexdigest(), None if sealer is None else sealer.sign(body))
    return msgspec.json.encode(file)


def decode_manifest(data: bytes, expected_id: str) -> Manifest:
    """Return a manifest whose integrity is verified, but not its origin: see `authenticate`. Raises `Corrupt`."""
    what = f"the manifest of {expected_id}"
    try:
        file = msgspec.json.decode(data, type=_File)
        body = bytes(file.manifest)
        if sha256(body).hexdigest() != file.sha256 or msgspec.json.encode(file) != data:
            raise Corrupt(f"{what} is not what was written: it does not match its hash")
        number = msgspec.json.decode(body, type=_Format).format
        if number != FORMAT:
            raise Corrupt(f"{what} has format {number}; this version reads {FORMAT}")
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Corrupt(f"{what} cannot be read: {error}") from None
    _check(manifest, expected_id, what)
    return manifest


class _Format(msgspec.Struct, frozen=True):
    format: int


def authenticate(data: bytes, manifest: Manifest, key: bytes | None) -> Sealer | None:
    """Return the keys for the parts; None without encryption. `data` is the file of `manifest`.

    Raises `CredentialsRefused` if there is no key, or another one; `Corrupt` if the manifest was not made with it.
    """
    code = msgspec.json.decode(data, type=_File).hmac_sha256
    if manifest.encryption is None:
        if code is not None:
            raise Corrupt(f"the manifest of {manifest.id} was made with a key, and does not say so")
        if key is not None:
            raise CredentialsRefused(
                f"{manifest.id} is not encrypted, although a key is given. Leave the key out to accept that"
            )
        return None
    if key is None:
        raise CredentialsRefused(
            f"{manifest.id} is encrypted, with the key of ID {manifest.encryption.key_id}: give it with --key-file"
        )
    sealer = Sealer.of(manifest.encryption, key)
    body = bytes(msgspec.json.decode(data, type=_File).manifest)
    if not hmac.compare_digest(sealer.sign(body), code or ""):
        raise Corrupt(f"the manifest of {manifest.id} was not made with this key")
    return sealer


def _check(manifest: Manifest, expected_id: str, what: str) -> None:
    if manifest.id != expected_id or not ID.fullmatch(manifest.id):
        raise Corrupt(f"{what} is that of {manifest.id[:64]!r}")
    parts = manifest.parts
    if not 0 < len(parts) <= PARTS_MAX:
        raise Corrupt(f"{what} has {len(parts)} parts")
    for part in parts:
        if not 0 < part.bytes <= PART_BYTES_MAX or not 0 < part.stored_bytes <= part.bytes + STORED_OVERHEAD_MAX:
            raise Corrupt(f"{what} has a part of {part.bytes} bytes, stored as {part.stored_bytes}")
    if sum(part.bytes for part in parts) != manifest.stream_bytes:
        raise Corrupt(f"{what} has parts that are not as long as its stream")
