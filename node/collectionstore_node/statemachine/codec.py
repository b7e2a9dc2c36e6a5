"""Decoding with one kind of error.

msgspec raises `UnicodeDecodeError`, which is not its `DecodeError`, for a text that is not UTF-8, and `RecursionError`
for arrays in arrays in arrays, even where it would skip them. Whoever guards against foreign bytes would forget one.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from collectionstore_node.errors import InvariantViolated

T = TypeVar("T")


def decode(decoder: msgspec.msgpack.Decoder[T], data: bytes | memoryview) -> T:
    """Return the value in `data`. Raises `msgspec.DecodeError` on anything that is not one."""
    try:
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def decode_own(decoder: msgspec.msgpack.Decoder[T], data: bytes, what: str) -> T:
    """Return the value in `data`, which this package wrote. Raises `InvariantViolated`, naming `what`, on damage."""
    try:
        return decode(decoder, data)
    except msgspec.DecodeError as error:
        raise InvariantViolated(f"{what} cannot be read: {error}") from error
