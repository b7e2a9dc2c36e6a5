"""Answers to refused requests are those of the problem, whatever was kept of earlier ones."""

from __future__ import annotations

import re

import pytest

from collectionstore_node.api.http.overload_answers import KEPT_MAX, OverloadAnswers
from collectionstore_node.api.http.problems import problem_of, render
from collectionstore_node.errors import Overloaded


@pytest.mark.parametrize("request_id", ["0a1b-7", "mine.7", 'a"b', "a\\b", "<&>", "x" * 128])
@pytest.mark.parametrize("retry_after_s", [0.5, 1.46875, 29.5])
def test_an_answer_is_the_rendered_problem(request_id: str, retry_after_s: float) -> None:
    answers = OverloadAnswers()
    for revision in (0, 7, 1 << 62):
        error = Overloaded("128 writes are in flight", retry_after_s=retry_after_s)
        expected = render(problem_of(error, safe_to_repeat=True), request_id=request_id, revision=revision)

        answer = answers.answer(error, request_id, revision)

        assert answer.encode("PUT", keep_open=True) == expected.encode("PUT", keep_open=True)


@pytest.mark.parametrize("request_id", ["0a1b2c3d-1", "0a1b2c3d-ffffffff"])
def test_a_whole_message_is_the_encoded_answer(request_id: str) -> None:
    answers = OverloadAnswers()
    for revision in (0, 7, 1 << 62):
        for retry_after_s in (0.5, 1.46875, 29.5):
            error = Overloaded("128 writes are in flight", retry_after_s=retry_after_s)
            expected = render(problem_of(error, safe_to_repeat=True), request_id=request_id, revision=revision)

            made = answers.encode(str(error), retry_after_s, request_id.encode(), revision)

            # The date may have moved on between the two.
            assert _without_date(made) == _without_date(expected.encode("PUT", keep_open=True))


def _without_date(message: bytes) -> bytes:
    return re.sub(rb"\r\nDate: [^\r]*", b"", message, count=1)


def test_different_refusals_are_not_mixed_up_and_few_are_kept() -> None:
    answers = OverloadAnswers()
    for number in range(2 * KEPT_MAX):
        error = Overloaded(f"{number} writes are in flight", retry_after_s=1.0)
        assert b"%d writes" % number in answers.answer(error, "a", 1).content

    assert len(answers._kept) <= KEPT_MAX
