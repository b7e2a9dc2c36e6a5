"""Why a node ended: data of a newer level is not damaged data, whatever version says so."""

from __future__ import annotations

import pytest

from collectionstore_operator.model.exit_reason import exit_reason, is_too_new

OLD = (
    "/data has data format 4; this version reads formats 2 to 3. A format is never lowered: run a version that reads it"
)


@pytest.mark.parametrize(
    ("code", "reason", "too_new"),
    [
        (76, "", True),
        (65, OLD, True),
        (65, "The data directory /data is corrupt. A table is missing.", False),
        (65, "", False),
        (70, OLD, False),
        (0, OLD, False),
    ],
)
def test_newer_data_are_told_from_damaged_data(code: int, reason: str, *, too_new: bool) -> None:
    assert is_too_new(code, reason) is too_new


def test_reason_is_that_of_the_last_line_that_has_one() -> None:
    log = (
        'cut off\n{"event":"node.refused","reason":"first"}\n{"event":"node.refused","reason":"' + OLD + '"}\nnot JSON'
    )
    assert is_too_new(65, exit_reason(log))
