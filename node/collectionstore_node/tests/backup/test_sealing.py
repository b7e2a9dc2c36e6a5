"""Encrypted parts open with their key, in their place, unchanged; and in no other way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.backup.errors import Corrupt, CredentialsRefused, InvalidUse
from collectionstore_node.backup.parts import load_part, part_name, store_part
from collectionstore_node.backup.sealing import Encryption, Sealer, parse_key

KEY, OTHER = bytes(32), bytes([1]) * 32
SALT = b"s" * 32


@given(st.binary(min_size=1, max_size=5000), st.integers(0, 10**6), st.booleans())
def test_a_part_comes_back_as_it_was(content: bytes, number: int, encrypted: bool) -> None:  # noqa: FBT001 - drawn
    sealer = Sealer(KEY, SALT) if encrypted else None
    part, data = store_part(number, content, "id", sealer)

    assert load_part(number, part, data, "id", sealer) == content
    assert part.bytes == len(content)
    assert part.stored_bytes == len(data)


@given(st.binary(min_size=1, max_size=300), st.data(), st.booleans())
def test_no_changed_byte_is_read(content: bytes, data: st.DataObject, encrypted: bool) -> None:  # noqa: FBT001 - drawn
    """Also with a hash that fits, as one who can write to the repository could make it."""
    sealer = Sealer(KEY, SALT) if encrypted else None
    part, stored = store_part(3, content, "id", sealer)
    at = data.draw(st.integers(0, len(stored) - 1))
    changed = bytearray(stored)
    changed[at] ^= data.draw(st.integers(1, 255))

    with pytest.raises(Corrupt, match="not what was written"):
        load_part(3, part, bytes(changed), "id", sealer)
    if sealer is not None:
        with pytest.raises(Corrupt, match="cannot be decrypted"):
            sealer.open(3, f"id/{part_name(3)}", bytes(changed))


def test_parts_that_change_places_do_not_open() -> None:
    sealer = Sealer(KEY, SALT)
    sealed = sealer.seal(3, "id/3", b"content")

    for number, name in ((4, "id/3"), (3, "id/4"), (3, "other/3")):
        with pytest.raises(Corrupt):
            sealer.open(number, name, sealed)
    with pytest.raises(Corrupt):
        Sealer(KEY, b"t" * 32).open(3, "id/3", sealed)


def test_another_key_is_named_as_such() -> None:
    description = Sealer(KEY, SALT).description

    with pytest.raises(CredentialsRefused, match=description.key_id):
        Sealer.of(description, OTHER)
    assert Sealer.of(description, KEY).description == description


def test_the_description_reveals_no_key() -> None:
    description = Sealer(KEY, SALT).description

    assert len(description.key_id) == 16
    assert description.key_id not in KEY.hex()
    with pytest.raises(Corrupt, match="salt"):
        Sealer.of(Encryption("AES-256-GCM", "HKDF-SHA256", "zz", description.key_id), KEY)


def test_salts_give_different_keys_and_codes() -> None:
    one, other = Sealer(KEY, SALT), Sealer(KEY, b"t" * 32)

    assert one.seal(0, "n", b"x") != other.seal(0, "n", b"x")
    assert one.sign(b"x") != other.sign(b"x")


@pytest.mark.parametrize("content", [KEY.hex().encode(), KEY.hex().upper().encode() + b"\n", KEY])
def test_keys_are_read_from_files(content: bytes) -> None:
    assert parse_key(content, "file") == KEY


@pytest.mark.parametrize("content", [b"", b"secret", KEY + b"\n", b"g" * 64, KEY.hex().encode()[:-1]])
def test_what_is_no_key_is_refused_without_showing_it(content: bytes) -> None:
    with pytest.raises(InvalidUse, match="64 hexadecimal digits") as caught:
        parse_key(content, "key.txt")
    assert b"secret" not in str(caught.value).encode()
