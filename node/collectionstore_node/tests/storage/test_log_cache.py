"""The in-memory picture of the log, against a list."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectionstore_node.raft.log_reader import Compacted, Unavailable
from collectionstore_node.raft.messages import GENESIS_CHAIN, Entry, Index, SnapshotMetadata, Term
from collectionstore_node.storage.log_cache import ENTRY_OVERHEAD_BYTES, LogCache
from collectionstore_node.tests.storage.entries import entries

_CACHE_BYTES = 1000

_steps = st.lists(
    st.tuples(st.sampled_from(("append", "truncate", "compact")), st.integers(0, 9), st.integers(0, 400)), max_size=40
)


@settings(deadline=None)
@given(_steps)
def test_tail_agrees_with_a_list_of_entries(steps: list[tuple[str, int, int]]) -> None:
    """Ends, terms and sizes are exact, and the cache is a bounded suffix, after any sequence of changes."""
    tail, kept, snapshot, term = LogCache(SnapshotMetadata(), _CACHE_BYTES), list[Entry](), SnapshotMetadata(), 1
    for action, amount, size in steps:
        if action == "append":
            term += amount % 2
            previous = kept[-1].chain if kept else snapshot.chain
            made = entries(tail.last + 1, tail.last + 1 + amount, previous, term=term, size=size)
            tail.append(made)
            kept += made
        elif action == "truncate":
            last = max(snapshot.index, tail.last - amount)
            tail.truncate(Index(last))
            kept = [entry for entry in kept if entry.index <= last]
        elif kept:
            to = kept[min(amount, len(kept) - 1)]
            snapshot = SnapshotMetadata(to.index, to.term, to.chain)
            tail.compact(snapshot)
            kept = [entry for entry in kept if entry.index > to.index]

        assert (tail.first, tail.last) == (snapshot.index + 1, snapshot.index + len(kept))
        assert [tail.term(entry.index) for entry in kept] == [entry.term for entry in kept]
        assert tail.term(snapshot.index) == snapshot.term
        assert tail.size_bytes == sum(len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in kept)
        cached = tail.cached_range(tail.cached_first, Index(tail.last + 1))
        assert list(cached) == kept[len(kept) - len(cached) :]
        cached_bytes = sum(len(entry.data) + ENTRY_OVERHEAD_BYTES for entry in cached)
        assert cached_bytes <= _CACHE_BYTES or len(cached) == 1


def test_tail_keeps_one_entry_larger_than_its_cache() -> None:
    """The newest entry is always in memory, whatever its size."""
    tail = LogCache(SnapshotMetadata(), _CACHE_BYTES)
    tail.append(entries(1, 3, size=5000))
    assert tail.cached_first == 3
    assert tail.cached(Index(3)).index == 3


def test_term_outside_the_log_raises_compacted_or_unavailable() -> None:
    """Below the snapshot is Compacted, beyond the end Unavailable."""
    tail = LogCache(SnapshotMetadata(Index(5), Term(2), GENESIS_CHAIN), _CACHE_BYTES)
    tail.append(entries(6, 8, term=3))
    assert [tail.term(Index(index)) for index in (5, 6, 8)] == [2, 3, 3]
    with pytest.raises(Compacted):
        tail.term(Index(4))
    with pytest.raises(Unavailable):
        tail.term(Index(9))
