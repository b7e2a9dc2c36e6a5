"""Strict JSON: a document that is accepted is stored as it was sent, less white space between tokens.

Numbers and strings keep their text, so no digit is lost, the stored form is never longer than the body, and what a read
returns can be written back. Everything ambiguous is refused. orjson decides what is JSON (UTF-8, no NaN or Infinity, no
lone surrogates). It keeps the last of duplicate keys, which RFC 8259 section 4 leaves undefined, and turns integers
beyond 64 bits into floats; both are refused here. A body that orjson writes back unchanged contains neither, which is
all that a small one costs; another one is scanned (`json_windows`), and a large one in short steps.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Final, TypeVar

import msgspec
import orjson

from collectionstore_node.api.http.json_windows import (
    Rules,
    Scanner,
    mask,
    refuse_malformed,
    refuse_name,
    refuse_other_type,
    steps,
)
from collectionstore_node.api.http.problems import Problem

S = TypeVar("S", bound=msgspec.Struct)

AT_ONCE_BYTES_MAX: Final = 64 << 10
AT_ONCE_VALUES_MAX: Final = 2_048
"""A larger body, or one that may hold more values, is checked in steps: at once it could take over a millisecond."""
FEW_VALUES_BYTES: Final = 4 << 10
"""Up to this size nothing is counted: the hot path."""


def at_once(body: bytes) -> bool:
    """Whether `body` is cheap enough to be checked without a pause."""
    size = len(body)
    if size <= FEW_VALUES_BYTES:
        return True
    return size <= AT_ONCE_BYTES_MAX and sum(map(body.count, (b",", b"{", b"["))) <= AT_ONCE_VALUES_MAX


def compact_json(body: bytes, rules: Rules) -> bytes:
    """Return the text of the JSON object in `body` without white space between tokens. Raises `Problem`."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        refuse_malformed(body, error, len(error.doc[: error.pos].encode()), rules.depth_max)
    if type(value) is not dict:
        refuse_other_type()
    # An upper bound first: few bodies have so many brackets that their real depth must be computed, and most have none
    # but the outermost. BEFORE the text is written, which has a limit of its own.
    nested = False
    for child in value.values():
        if type(child) is dict or type(child) is list:
            nested = True
            break
    scanned = nested and body.count(b"{") + body.count(b"[") > rules.depth_max
    if scanned:
        Scanner(rules).scan(body, mask(body))
    canonical = orjson.dumps(value)
    text = body
    if canonical != body:
        text = msgspec.json.format(body, indent=-1)
        if canonical != text and not scanned:
            Scanner(rules).scan(text, mask(text))
    if rules.names_depth:
        _check_names(value, rules.names_depth)
    return text


def compact_json_steps(body: bytes, rules: Rules) -> Generator[None, None, bytes]:
    """Do as `compact_json`, yielding after every step of about a millisecond."""
    return steps(body, rules)


def check_syntax(body: bytes, depth_max: int) -> None:
    """Raise the `Problem` of a body that is not JSON; say nothing of one that is."""
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as error:
        refuse_malformed(body, error, len(error.doc[: error.pos].encode()), depth_max)


def decode(text: bytes, kind: type[S]) -> S:
    """Return checked JSON as a `kind`. Raises `Problem` with the path of the offending field; never quotes a value."""
    try:
        return msgspec.json.decode(text, type=kind)
    except msgspec.ValidationError as error:
        # msgspec's text holds names and types only: "Expected `int`, got `str` - at `$.changes[0].epoch`".
        raise Problem("invalid_body", str(error).replace("`", "'")) from None


def _check_names(value: Any, depth: int) -> None:
    """Refuse reserved names in the objects at `depth`, those in `value` itself at 1. Raises `Problem`."""
    if depth > 1:
        for child in value.values() if type(value) is dict else value:
            if type(child) is dict or type(child) is list:
                _check_names(child, depth - 1)
    elif type(value) is dict:
        for name in value:
            if name[:1] == "_":
                refuse_name(name)
