"""A manifest is read exactly as it was written, or refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.backup.errors import Corrupt, CredentialsRefused
from collectionstore_node.backup.manifest import Manifest, authenticate, decode_manifest, encode_manifest
from collectionstore_node.backup.parts import Part
from collectionstore_node.backup.sealing import Sealer

ID = "20260102T030405Z-0123abcd"
HASH = "ab" * 32
KEY = bytes(32)
SEALER = Sealer(KEY, b"s" * 32)


def manifest(
    sealer: Sealer | None = None, parts: tuple[Part, ...] = (Part(10, 12, HASH),), **fields: object
) -> Manifest:
    made = Manifest(
        id=ID,
        started_at="2026-01-02T03:04:05Z",
        finished_at="2026-01-02T03:04:06Z",
        cluster_id="shop",
        node_id="00000000000000a1",
        member="shop-1",
        from_leader=False,
        version="0.1.0",
        term=3,
        applied_index=500,
        revision=400,
        chain=HASH,
        time_ms=12,
        feature_level=2,
        state_digest=HASH,
        records=7,
        content_bytes=9,
        stream_bytes=sum(part.bytes for part in parts),
        stream_sha256=HASH,
        encryption=None if sealer is None else sealer.description,
        parts=parts,
    )
    return msgspec.structs.replace(made, **fields)


@pytest.mark.parametrize("sealer", [None, SEALER])
def test_a_manifest_comes_back(sealer: Sealer | None) -> None:
    data = encode_manifest(manifest(sealer), sealer)

    assert decode_manifest(data, ID) == manifest(sealer)
    authenticate(data, manifest(sealer), None if sealer is None else KEY)


@pytest.mark.parametrize("sealer", [None, SEALER])
def test_no_changed_byte_is_accepted(sealer: Sealer | None) -> None:
    """Every byte of the file, each bit of it in turn."""
    data = encode_manifest(manifest(sealer), sealer)
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        with pytest.raises(Corrupt):
            _read(bytes(changed), KEY if sealer is not None else None)


def _read(data: bytes, key: bytes | None) -> None:
    # The code of an encrypted manifest is not covered by the hash: it must not fit.
    authenticate(data, decode_manifest(data, ID), key)


@given(st.integers(0, 2000))
def test_no_shorter_file_is_accepted(size: int) -> None:
    data = encode_manifest(manifest(), None)
    with pytest.raises(Corrupt):
        decode_manifest(data[: min(size, len(data) - 1)], ID)


@pytest.mark.parametrize(
    "changed",
    [
        {"parts": ()},
        {"parts": (Part(0, 1, HASH),), "stream_bytes": 0},
        {"parts": (Part(1, 2 << 20, HASH),), "stream_bytes": 1},
        {"parts": (Part(1 << 30, 5, HASH),), "stream_bytes": 1 << 30},
        {"stream_bytes": 11},
        {"id": "20260102T030405Z-00000000"},
        {"state_digest": "AB" * 32},
        {"revision": -1},
    ],
)
def test_a_manifest_that_cannot_be_true_is_refused(changed: dict[str, object]) -> None:
    with pytest.raises(Corrupt):
        decode_manifest(encode_manifest(manifest(**changed), None), ID)  # type: ignore[arg-type]


def test_a_manifest_of_another_place_is_refused() -> None:
    with pytest.raises(Corrupt, match="is that of"):
        decode_manifest(encode_manifest(manifest(), None), "20260102T030405Z-ffffffff")


def test_another_format_is_named() -> None:
    data = encode_manifest(msgspec.structs.replace(manifest(), format=2), None)
    with pytest.raises(Corrupt, match="has format 2; this version reads 1"):
        decode_manifest(data, ID)


def test_encryption_cannot_be_taken_off() -> None:
    """A manifest that was replaced by one without encryption is not accepted by one who gives a key."""
    data = encode_manifest(manifest(), None)
    with pytest.raises(CredentialsRefused, match="is not encrypted"):
        authenticate(data, manifest(), KEY)


def test_a_key_is_needed_and_must_be_the_one() -> None:
    data = encode_manifest(manifest(SEALER), SEALER)
    with pytest.raises(CredentialsRefused, match="give it with --key-file"):
        authenticate(data, manifest(SEALER), None)
    with pytest.raises(CredentialsRefused, match="the key is not the one"):
        authenticate(data, manifest(SEALER), b"x" * 32)


def test_a_manifest_made_without_the_key_does_not_authenticate() -> None:
    """One who can write to the repository, and has no key, changes a number and renews the hash."""
    forged = encode_manifest(manifest(SEALER, revision=999), Sealer(b"y" * 32, b"s" * 32))
    with pytest.raises(Corrupt, match="was not made with this key"):
        authenticate(forged, decode_manifest(forged, ID), KEY)
