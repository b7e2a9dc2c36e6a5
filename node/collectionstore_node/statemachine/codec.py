"""Decoding with one exception type.

msgspec raises `UnicodeDecodeError`, not its `DecodeError`, for text that is not UTF-8, and `RecursionError` for deeply
nested arrays, even in fields that it skips. A caller that handles untrusted bytes would miss one of them.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from collectionstore_node.errors import InvariantViolated

T = TypeVar("T")


def decode(decoder: msgspec.msgpack.Decoder[T], data: bytes | memoryview) -> T:
    """Return the decoded value. Raises `msgspec.DecodeError` if `data` is invalid in any way."""
    try:
        return decoder.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error


def decode_own(decoder: msgspec.msgpack.Decoder[T], data: bytes, what: str) -> T:
    """Return the value in `data`, written by this package. Raises `InvariantViolated` with `what` if it is corrupt."""
    try:
        return decode(decoder, data)
    except msgspec.DecodeError as error:
        raise InvariantViolated(f"{what} cannot be decoded: {error}") from error
