"""JSON as the store takes it: no NaN, no infinity, integers of 64 bits, keys that are texts."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from collectionstore.errors import InvalidArgument

INT_MIN: Final = -(1 << 63)
INT_MAX: Final = (1 << 64) - 1

_encoder: Final = msgspec.json.Encoder()


def encode(value: Any) -> bytes:
    """Return `value` as JSON text. Raises InvalidArgument, whose text has no value, for what JSON or the store has not.

    Dates become texts of RFC 3339, bytes base64, and UUIDs, enums, dataclasses and structs what msgspec makes of them.
    """
    try:
        text = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise InvalidArgument(f"cannot be written as JSON: {_without_values(error)}") from None
    except RecursionError:
        raise InvalidArgument("cannot be written as JSON: nested too deep") from None
    if b"null" in text:
        # NaN and infinity are written as null: what comes back would be another document.
        _refuse_infinite(value, "")
    return text


def decode(text: bytes | msgspec.Raw) -> Any:
    """Return the value of JSON text that the store has sent."""
    return msgspec.json.decode(text)


def _without_values(error: Exception) -> str:
    text = str(error)
    return text if isinstance(error, TypeError) and "type" in text else type(error).__name__


def _refuse_infinite(value: Any, pointer: str) -> None:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise InvalidArgument(f"{pointer or '/'}: JSON has no NaN and no infinity")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            _refuse_infinite(one, f"{pointer}/{name}")
    elif isinstance(value, list | tuple | set | frozenset):
        for at, one in enumerate(value):
            _refuse_infinite(one, f"{pointer}/{at}")
    elif not isinstance(value, str | bytes | int | datetime.date | type(None)):
        fields: Iterable[str] = getattr(value, "__struct_fields__", ()) or getattr(value, "__dataclass_fields__", ())
        for name in fields:
            _refuse_infinite(getattr(value, name), f"{pointer}/{name}")


def filter_text(value: Mapping[str, Any] | None, name: str = "filter") -> Mapping[str, Any]:
    """Return a filter, checked to be an object; None is `{}`."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidArgument(f"{name} must be a mapping, not a {type(value).__name__}")
    return value
