"""Bodies that are requests rather than content: strict JSON, converted to a struct that knows its fields."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from collectionstore_node.api.bodies import require_json
from collectionstore_node.api.json_bodies import parse_object
from collectionstore_node.api.ports import Call
from collectionstore_node.api.problems import Problem

S = TypeVar("S", bound=msgspec.Struct)


async def read_request(call: Call, kind: type[S], bytes_max: int | None = None) -> S:
    """Return the body as a `kind`. Raises `Problem`, for unknown fields too."""
    return convert(await read_object(call, bytes_max), kind)


async def read_object(call: Call, bytes_max: int | None = None) -> dict[str, Any]:
    """Return the body, a JSON object. Raises `Problem`."""
    require_json(call.request)
    limits = call.api.limits
    return parse_object(await call.body(bytes_max or limits.control_bytes_max), limits.depth_max)


def convert(value: dict[str, Any], kind: type[S]) -> S:
    """Return `value` as a `kind`. Raises `Problem` that tells the path of what is wrong, and never quotes a value."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # "Expected `int`, got `str` - at `$.changes[0].epoch`": names and types.
        raise Problem("invalid_body", str(error).replace("`", "'")) from None
