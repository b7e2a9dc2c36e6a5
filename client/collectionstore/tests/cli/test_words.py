"""Lines of the shell: quotes, JSON, comments, and lines that go on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore.cli.words import Incomplete, last_word, split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  find  books ", ["find", "books"]),
        (
            'find books {"a": {"$gt": 1}, "b": "x } y"} -o json',
            ["find", "books", '{"a": {"$gt": 1}, "b": "x } y"}', "-o", "json"],
        ),
        ('aggregate a [{"$match":\n {}}]', ["aggregate", "a", '[{"$match":\n {}}]']),
        ('put a \'it is\' "b \\" c" d\\ e', ["put", "a", "it is", 'b " c', "d e"]),
        ("a='b c'd", ["a=b cd"]),
        ("find a # all", ["find", "a"]),
        ("find a#b", ["find", "a#b"]),
        ("find \\\n a", ["find", "a"]),
        ("a ''", ["a", ""]),
    ],
)
def test_words(line: str, words: list[str]) -> None:
    assert split(line) == words


@pytest.mark.parametrize("line", ["'", '"', '{"a": 1', "[", 'a "b', "a \\", '{"a": "}'])
def test_lines_that_go_on(line: str) -> None:
    with pytest.raises(Incomplete):
        split(line)


@pytest.mark.parametrize(
    ("line", "words", "incomplete"),
    [
        ("", [], ""),
        ("fi", [], "fi"),
        ("find ", ["find"], ""),
        ("find bo", ["find"], "bo"),
        ('find books {"a": "b c', ["find", "books"], '{"a": "b c'),
        ("find 'a b", ["find"], "'a b"),
    ],
)
def test_the_word_that_is_being_typed(line: str, words: list[str], incomplete: str) -> None:
    assert last_word(line) == (words, incomplete)


@given(st.text())
def test_every_line_has_words_or_goes_on(line: str) -> None:
    words, rest = last_word(line)
    assert line.endswith(rest)
    try:
        split(line)
    except Incomplete:
        return
    assert all(isinstance(one, str) for one in words)
