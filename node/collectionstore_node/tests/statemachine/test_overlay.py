"""An overlay behaves as if its writes were stored already."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.statemachine.costs import READ_COST_BYTES
from collectionstore_node.statemachine.view import Overlay, View, Writes
from collectionstore_node.tests.statemachine.memory_view import MemoryView

keys = st.text(st.sampled_from("abc"), max_size=3).map(str.encode)
values = st.binary(max_size=2)
puts = st.tuples(st.just("put"), keys, values)
deletes = st.tuples(st.just("delete"), keys, st.just(b""))
drops = st.tuples(st.just("drop"), keys, keys)
scans = st.tuples(st.just("scan"), keys, keys)
reads_ahead = st.tuples(st.just("ahead"), keys, keys)
steps = st.lists(puts | deletes | drops | scans | reads_ahead, max_size=25)


def stored(pairs: dict[bytes, bytes]) -> MemoryView:
    view, writes = MemoryView(), Writes()
    writes.values.update(pairs)
    view.commit(writes)
    return view


def in_range(model: dict[bytes, bytes], lo: bytes, hi: bytes) -> list[tuple[bytes, bytes]]:
    return sorted((key, value) for key, value in model.items() if lo <= key < hi)


def perform(overlay: Overlay, model: dict[bytes, bytes], step: tuple[str, bytes, bytes]) -> None:
    """Do one step to both; a scan is compared at once."""
    match step:
        case "put", key, value:
            overlay.put(key, value)
            model[key] = value
        case "ahead", one, other:
            # Of the base, whatever is pending: what `get` returns afterwards is still the model's.
            cost = overlay.cost
            overlay.read_ahead([one, other])
            assert overlay.cost == cost
            assert overlay.get(one) == model.get(one)
            assert overlay.cost == cost + READ_COST_BYTES + len(model.get(one, b""))
        case "delete", key, _:
            overlay.delete(key)
            model.pop(key, None)
        case "drop", lo, hi:
            overlay.drop_range(lo, hi)
            for key, _ in in_range(model, lo, hi):
                del model[key]
        case _, lo, hi:
            assert list(overlay.scan(lo, hi)) == in_range(model, lo, hi)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(keys, values), steps, st.lists(keys, max_size=8))
def test_overlay_equals_dict(
    base: dict[bytes, bytes], steps: list[tuple[str, bytes, bytes]], asked: list[bytes]
) -> None:
    """Any mix of puts, deletes, drops and scans reads like a dict, before and after it is stored."""
    view, model = stored(base), dict(base)
    overlay = Overlay(view)
    for step in steps:
        perform(overlay, model, step)
    assert {key: overlay.get(key) for key in asked} == {key: model.get(key) for key in asked}
    assert list(overlay.scan(b"", b"\xff")) == in_range(model, b"", b"\xff")
    assert view.values == base
    view.commit(overlay.writes)
    assert view.values == model
    assert list(view.scan(b"", b"\xff")) == in_range(model, b"", b"\xff")


@settings(deadline=None)
@given(st.lists(st.tuples(keys, keys), max_size=12))
def test_dropped_ranges_stay_sorted_and_disjoint(ranges: list[tuple[bytes, bytes]]) -> None:
    """However ranges overlap, they are united, so that a lookup is one bisection."""
    overlay = Overlay(MemoryView())
    for lo, hi in ranges:
        overlay.drop_range(lo, hi)
    dropped = overlay.writes.dropped
    assert all(lo < hi for lo, hi in dropped)
    assert all(left[1] < right[0] for left, right in pairwise(dropped))


def test_put_after_drop_survives_when_stored() -> None:
    """Ranges are dropped before values are written."""
    view = stored({b"a": b"old", b"b": b"old"})
    overlay = Overlay(view)
    overlay.drop_range(b"a", b"c")
    overlay.put(b"a", b"new")
    view.commit(overlay.writes)
    assert view.values == {b"a": b"new"}


def test_scan_shows_writes_as_they_were_at_the_call() -> None:
    """A scan that runs while its caller writes is not disturbed."""
    overlay = Overlay(stored({b"b": b"1"}))
    overlay.put(b"a", b"1")
    seen = overlay.scan(b"a", b"z")
    overlay.put(b"c", b"2")
    overlay.delete(b"a")
    assert list(seen) == [(b"a", b"1"), (b"b", b"1")]


def test_overlays_stack() -> None:
    """An overlay is a view, so it can lie on another."""
    lower = Overlay(stored({b"a": b"1", b"b": b"1", b"c": b"1"}))
    lower.drop_range(b"b", b"c")
    upper = Overlay(lower)
    upper.put(b"b", b"2")
    upper.delete(b"c")
    assert list(upper.scan(b"a", b"z")) == [(b"a", b"1"), (b"b", b"2")]
    assert list(lower.scan(b"a", b"z")) == [(b"a", b"1"), (b"c", b"1")]


class Recording(View):
    """A view that keeps which keys were handed out by scans."""

    def __init__(self, base: View) -> None:
        self._base = base
        self.handed_out: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self._base.get(key)

    def scan(self, lo: bytes, hi: bytes) -> Iterator[tuple[bytes, bytes]]:
        for key, value in self._base.scan(lo, hi):
            self.handed_out.append(key)
            yield key, value


def test_scan_is_lazy_and_never_enters_a_dropped_range() -> None:
    """The first items cost no more than themselves, and a dropped collection nothing."""
    base = Recording(stored({bytes((letter,)): b"1" for letter in b"abcdefgh"}))
    overlay = Overlay(base)
    overlay.drop_range(b"b", b"f")
    found = overlay.scan(b"a", b"z")
    assert base.handed_out == []
    assert [next(found)[0], next(found)[0]] == [b"a", b"f"]
    assert base.handed_out == [b"a", b"f"]
