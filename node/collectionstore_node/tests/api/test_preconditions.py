"""Entity tags and preconditions, as values."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy

from collectionstore_node.api.http.preconditions import read_failed, read_unchanged, write_precondition
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.statemachine.commands import ANY, Precondition


def headers(*pairs: tuple[str, str]) -> CIMultiDictProxy[str]:
    return CIMultiDictProxy(CIMultiDict(pairs))


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([], ANY),
        ([("If-Match", "*")], Precondition(exists=True)),
        ([("If-None-Match", "*")], Precondition(exists=False)),
        ([("If-Match", '"7"')], Precondition(revisions=(7,))),
        ([("If-Match", '"7" ,\t"9"')], Precondition(revisions=(7, 9))),
        ([("If-Match", '"7"'), ("If-Match", '"9"')], Precondition(revisions=(7, 9))),
        ([("If-Match", 'W/"7"')], Precondition(revisions=())),
        ([("If-Match", '"07", "0", "x", "", "99999999999999999999", "7"')], Precondition(revisions=(7,))),
    ],
)
def test_what_must_hold_for_a_write(pairs: list[tuple[str, str]], expected: Precondition) -> None:
    """Well-formed tags that cannot be revisions match nothing; without any other, no revision matches."""
    assert write_precondition(headers(*pairs)) == expected


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), min_size=1, max_size=6), st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_reads_compare_strongly_for_match_and_weakly_for_none_match(tags: list[tuple[bool, int]], now: int) -> None:
    """RFC 9110 13.1.1 and 13.1.2."""
    text = ", ".join(f'{"W/" if weak else ""}"{revision}"' for weak, revision in tags)

    assert read_failed(headers(("If-Match", text)), now) == ((False, now) not in tags)
    assert read_unchanged(headers(("If-None-Match", text)), now) == (now in {revision for _, revision in tags})


@given(st.text(max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_is_tags_or_a_problem(text: str) -> None:
    for name, check in (("If-Match", read_failed), ("If-None-Match", read_unchanged)):
        # A `Problem` is the only exception there is.
        with contextlib.suppress(Problem):
            assert check(headers((name, text)), 7) in (True, False)
