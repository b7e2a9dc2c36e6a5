"""Strict JSON: a document that is accepted is stored without loss, and everything ambiguous is refused.

orjson decides what is JSON (UTF-8, no NaN or Infinity, no lone surrogates). It silently keeps the last of duplicate
keys, which RFC 8259 section 4 leaves undefined, and silently turns integers beyond 64 bits into floats. Both are
refused here, by checks that are cheap at any size: a body that orjson writes back unchanged contains neither; otherwise
the members of all objects are counted before and after. Nothing here runs Python code per value: it would block the
event loop.
"""

from __future__ import annotations

import json
import re
from itertools import accumulate
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import orjson

from collectionstore_node.api.http.names import quoted
from collectionstore_node.api.http.problems import Problem

S = TypeVar("S", bound=msgspec.Struct)

INTEGER_MIN: Final = -(1 << 63)
INTEGER_MAX: Final = (1 << 64) - 1

KEYS_NAMED_BYTES_MAX: Final = 64 << 10
"""Up to this size, a refusal names the duplicate key; finding it takes a slow parse."""

_WHITE_SPACE: Final = b" \t\r\n"
_STRING: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_LONG_NUMBER: Final = re.compile(rb"[-+.eE0-9]{19,}")
_STEPS: Final = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in _STEPS)
_NOT_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")


def parse_document(body: bytes, depth_max: int) -> bytes:
    """Return the compact JSON text of a document. Raises `Problem`; names beginning with "_" are reserved."""
    value, compact = _parse(body, depth_max)
    check_field_names(value)
    return compact


def parse_object(body: bytes, depth_max: int) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises `Problem`."""
    return _parse(body, depth_max)[0]


def convert(value: dict[str, Any], kind: type[S]) -> S:
    """Return `value` as a `kind`. Raises `Problem` with the path of the offending field, and never quotes a value."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        # msgspec's text holds names and types only: "Expected `int`, got `str` - at `$.changes[0].epoch`".
        raise Problem("invalid_body", str(error).replace("`", "'")) from None


def check_field_names(document: dict[str, Any]) -> None:
    """Refuse top-level names that are reserved for the store. Raises `Problem`."""
    for name in document:
        if name[:1] == "_":
            raise Problem("reserved_field", f"top-level names beginning with '_' are reserved: {quoted(name)}")


def _parse(body: bytes, depth_max: int) -> tuple[dict[str, Any], bytes]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        _refuse_malformed(error, depth_max)
    if type(value) is not dict:
        raise Problem("not_an_object", 'the body must be a JSON object, like {"name": "ada"}')
    # An upper bound first: few bodies have so many brackets that their real depth must be computed.
    if body.count(b"{") + body.count(b"[") > depth_max:
        _check_depth(body, depth_max)
    compact = orjson.dumps(value)
    # White space is removed from both, inside strings too: in valid JSON it separates no two tokens that could be read
    # as one, so what is equal without it has the same tokens.
    if compact != body and compact.translate(None, _WHITE_SPACE) != body.translate(None, _WHITE_SPACE):
        _check_rewritten(body, compact)
    return value, compact


def _check_depth(body: bytes, depth_max: int) -> None:
    brackets = _without_strings(body).translate(None, _NOT_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets))) > depth_max:
        raise _too_deep(depth_max)


def _check_rewritten(body: bytes, compact: bytes) -> None:
    """Refuse what orjson changed silently when it turned `body` into `compact`."""
    tokens = _without_strings(body)
    for number in _LONG_NUMBER.findall(tokens):
        if number.lstrip(b"-").isdigit():
            _check_integer(number.decode())
    if tokens.count(b":") != _without_strings(compact).count(b":"):
        raise _duplicate_key(body)


def _without_strings(body: bytes) -> bytes:
    """Return valid JSON without its strings, so that every bracket, colon and digit left belongs to a token."""
    return _STRING.sub(b"", body)


def _duplicate_key(body: bytes) -> Problem:
    if len(body) > KEYS_NAMED_BYTES_MAX:
        return Problem("duplicate_key", "a key appears twice in one object")
    repeated: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                repeated.append(name)
            seen.add(name)

    json.loads(body, object_pairs_hook=note)
    name = repeated[0]
    return Problem("duplicate_key", f"the key {quoted(name)} appears twice in one object", key=name[:64])


def _check_integer(text: str) -> None:
    if len(text) > 20 or not INTEGER_MIN <= int(text) <= INTEGER_MAX:
        raise Problem(
            "number_out_of_range",
            f"the integer {quoted(text)} is outside [{INTEGER_MIN}, {INTEGER_MAX}]; send it as a string",
        )


def _refuse_malformed(error: orjson.JSONDecodeError, depth_max: int) -> NoReturn:
    line, column = error.lineno, error.colno
    if "depth" in error.msg:
        raise _too_deep(depth_max)
    if "infinity" in error.msg:
        code, reason = "number_out_of_range", "the number is beyond a 64-bit float"
    else:
        token = next((one for one in _NOT_NUMBERS if error.doc.startswith(one, error.pos)), None)
        code, reason = "malformed_json", f"{token} is not JSON" if token else error.msg.partition(":")[0]
    raise Problem(code, f"line {line} column {column}: {reason}", line=line, column=column)


def _too_deep(depth_max: int) -> Problem:
    return Problem("nesting_too_deep", f"objects and arrays may be nested at most {depth_max} deep")
