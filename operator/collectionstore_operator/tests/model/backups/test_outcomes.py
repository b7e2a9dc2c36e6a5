"""What a run said: only a result that can be read is a success, and every failure has a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_operator.model.backups.outcomes import (
    LOST,
    REASONS,
    Drilled,
    Made,
    Trouble,
    read_drilled,
    read_made,
    read_trouble,
)
from collectionstore_operator.tests.planning.backups.scenes import BACKUP_ID, drilled, made


def test_result_is_read() -> None:
    found = read_made(made())
    assert isinstance(found, Made)
    assert (found.id, found.revision, found.stored_bytes) == (BACKUP_ID, 30, 1_000)
    assert isinstance(read_drilled(drilled()), Drilled)


@pytest.mark.parametrize(
    "changes", [{"id": "latest"}, {"id": ""}, {"revision": -1}, {"state_digest": ""}, {"seconds": -1}, {"index": "7"}]
)
def test_result_with_a_wrong_field_is_no_result(changes: dict[str, Any]) -> None:
    found = read_made(made(**changes))
    assert isinstance(found, Trouble)
    assert found.reason == LOST


@given(st.text(max_size=200))
def test_no_text_passes_for_a_result(text: str) -> None:
    assert isinstance(read_made(text), Trouble)
    assert isinstance(read_drilled(text), Trouble)


@given(st.text(max_size=3_000), st.one_of(st.none(), st.integers(0, 255)))
def test_every_failure_has_a_short_reason_and_message(text: str, code: int | None) -> None:
    found = read_trouble(text, code)
    assert found.reason.isalpha()
    assert found.message
    assert len(found.message) < 1_000


def test_reason_of_the_program_counts_before_its_exit_code() -> None:
    found = read_trouble('{"reason": "StoreFull", "message": "full", "exit_code": 1}', 1)
    assert (found.reason, found.message) == ("StoreFull", "full")
    for code, reason in REASONS.items():
        assert read_trouble("", code).reason == reason


def test_reason_that_is_no_reason_is_not_published() -> None:
    """It becomes the reason of a condition, which the API server checks."""
    found = read_trouble('{"reason": "no reason!", "message": "x"}', 8)
    assert found.reason == "Corrupt"
