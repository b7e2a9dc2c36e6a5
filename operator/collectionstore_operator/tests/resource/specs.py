"""Draws specs for property tests, from the structs themselves: mostly right, and wrong in one place now and then."""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from collectionstore_operator.resource.spec import Spec

WRONG: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 1, 3, 1 << 40, "", "x", "Retain", "3", "10Gi\n", "ä", "-", "a" * 400, [], {}, [{}], {"x": 1}]
)


def specs() -> st.SearchStrategy[Any]:
    """Return a strategy of specs as decoded from YAML."""
    return st.booleans().flatmap(lambda spoilt: _value(inspect.type_info(Spec), spoilt=spoilt))


def _value(kind: inspect.Type, *, spoilt: bool) -> st.SearchStrategy[Any]:
    kind = _plain(kind)
    if spoilt:
        return st.one_of(*[_right(kind, spoilt=True)] * 6, WRONG)
    return _right(kind, spoilt=False)


def _right(kind: inspect.Type, *, spoilt: bool) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            # The ends are where mistakes are made; the small ones make sizes that are odd, even and one.
            lowest, highest = kind.ge or 0, kind.le if kind.le is not None else 1 << 40
            low_end = st.integers(lowest, min(highest, lowest + 8))
            return st.one_of(st.integers(lowest, highest), st.sampled_from([lowest, highest]), low_end)
        case inspect.StrType():
            return _text(kind.pattern, kind.min_length or 0, kind.max_length)
        case inspect.LiteralType():
            return st.sampled_from(list(kind.values))
        case inspect.StructType():
            return _object(kind, spoilt=spoilt)
        case inspect.DictType():
            values = _value(kind.value_type, spoilt=spoilt)
            return st.dictionaries(_value(kind.key_type, spoilt=False), values, max_size=3)
        case inspect.VarTupleType():
            return st.lists(_value(kind.item_type, spoilt=spoilt), min_size=kind.min_length or 0, max_size=3)
        case inspect.UnionType():
            return st.one_of(*(_value(one, spoilt=spoilt) for one in kind.types))
        case inspect.NoneType():
            return st.none()
    raise TypeError(f"no field has the type {kind}")


def _object(kind: inspect.StructType, *, spoilt: bool) -> st.SearchStrategy[dict[str, Any]]:
    required = {field.encode_name: _value(field.type, spoilt=spoilt) for field in kind.fields if field.required}
    optional = {field.encode_name: _value(field.type, spoilt=spoilt) for field in kind.fields if not field.required}
    drawn = st.fixed_dictionaries(required, optional=optional)
    if not spoilt:
        return drawn
    further = st.dictionaries(st.sampled_from(["unheardOf", "size"]), st.just(1), max_size=1)
    return st.tuples(drawn, st.one_of(*[st.just({})] * 9, further)).map(lambda pair: {**pair[1], **pair[0]})


@functools.cache
def _text(pattern: str | None, shortest: int, longest: int | None) -> st.SearchStrategy[str]:
    if pattern is None:
        return st.text(st.characters(codec="ascii", categories=["L", "N", "P"]), min_size=shortest, max_size=longest)
    drawn = st.from_regex(pattern.removesuffix("$") + r"\Z", alphabet=st.characters(codec="ascii"))
    return drawn.filter(lambda text: longest is None or shortest <= len(text) <= longest)


def _plain(kind: inspect.Type) -> inspect.Type:
    return _plain(kind.type) if isinstance(kind, inspect.Metadata) else kind
