"""Views of documents as bytes: a command takes them along, so that every replica checks it by the same rules.

Decoding trusts nothing: a member forwards commands, and what it checked, or was, is not known where they are applied.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import msgspec
import orjson

from collectionstore_node.access.masks import Mask
from collectionstore_node.access.rights import DocumentView, Grant
from collectionstore_node.documents.filters import compile_filter, parse_filter
from collectionstore_node.documents.filters.tree import leaves
from collectionstore_node.documents.paths import PARTS_MAX
from collectionstore_node.errors import InvalidRequest

VIEW_BYTES_MAX: Final = 64 << 10
"""What the rules of one view may take, encoded."""
GRANTS_MAX: Final = 256
_CACHED: Final = 256
"""Views that are kept compiled: the same ones come with every command of a caller."""


class _Grant(msgspec.Struct, frozen=True, array_like=True):
    """One rule of a view."""

    allow: bool
    filter: bytes = b""
    """Compact JSON; empty for all documents."""
    hides: bool | None = None
    """None for no mask."""
    tree: dict[str, Any] | None = None


class CompiledView(msgspec.Struct, frozen=True):
    """A view, and what asking it costs."""

    view: DocumentView
    tests: int
    """How many tests it makes of a document at most."""


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(tuple[_Grant, ...])


def encode_view(view: DocumentView) -> bytes:
    """Return the bytes of a view: the same for the same rules in the same order."""
    return _encoder.encode(
        [
            _Grant(
                allow,
                b"" if grant.filter is None else orjson.dumps(grant.filter),
                None if grant.mask is None else grant.mask.hides,
                None if grant.mask is None else grant.mask.tree,
            )
            for allow, grants in ((True, view.allowed), (False, view.denied))
            for grant in grants
        ]
    )


@lru_cache(maxsize=_CACHED)
def decode_view(data: bytes) -> CompiledView:
    """Return the view of `encode_view`. Raises `InvalidRequest("invalid_access")` for anything else.

    Pure: the same on every replica, whatever it has seen before.
    """
    if len(data) > VIEW_BYTES_MAX:
        raise _invalid(f"a view has at most {VIEW_BYTES_MAX} bytes")
    try:
        grants = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _invalid("the rules of a view cannot be decoded") from None
    if len(grants) > GRANTS_MAX:
        raise _invalid(f"a view has at most {GRANTS_MAX} rules")
    allowed: list[Grant] = []
    denied: list[Grant] = []
    tests = 1
    for one in grants:
        grant, count = _compiled(one)
        (allowed if one.allow else denied).append(grant)
        tests += count
    return CompiledView(DocumentView(tuple(allowed), tuple(denied)), tests)


def _compiled(one: _Grant) -> tuple[Grant, int]:
    match = given = None
    tests = 1
    if one.filter:
        try:
            given = orjson.loads(one.filter)
        except orjson.JSONDecodeError:
            raise _invalid("the filter of a view is not JSON") from None
        if type(given) is not dict:
            raise _invalid("the filter of a view is an object")
        node = parse_filter(given)
        match, tests = compile_filter(node), leaves(node)
    if one.hides is None:
        return Grant(match, None, given), tests
    _check_tree(one.tree, 0)
    return Grant(match, Mask(one.tree or {}, hides=one.hides), given), tests


def _check_tree(tree: Any, depth: int) -> None:
    if type(tree) is not dict or depth > PARTS_MAX:
        raise _invalid("a mask is a tree of names")
    for inner in tree.values():
        _check_tree(inner, depth + 1)


def _invalid(detail: str) -> InvalidRequest:
    return InvalidRequest("invalid_access", detail)
