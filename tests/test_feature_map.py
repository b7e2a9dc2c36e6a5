"""The feature map is true: every row says yes, partly or no, and the tests and scenarios that it names exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest

REPOSITORY: Final = Path(__file__).parents[1]
PAGE: Final = REPOSITORY / "docs" / "operate" / "feature-map.md"
REFERENCE: Final = re.compile(r"`([^`]+\.py)::(\w+)`")
ROWS: Final = {"Resource, status, validation": 10, "Membership and lifecycle": 13, "Data, security, operation": 15}
"""Sections with the number of features that operators are compared by in each."""


class Row(NamedTuple):
    section: str
    feature: str
    built: str
    how: str
    shown_by: str


def rows() -> list[Row]:
    found, section = [], ""
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and cells[0] not in ("feature", "---"):
            found.append(Row(section, *cells))
    return found


def test_every_feature_has_a_row() -> None:
    sections = [row.section for row in rows()]
    assert {one: sections.count(one) for one in sections} == ROWS
    assert len({row.feature for row in rows()}) == len(rows())


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.feature)
def test_row_says_what_is_built_and_names_tests_that_exist(row: Row) -> None:
    assert row.built in ("yes", "partly", "no")
    references = REFERENCE.findall(row.shown_by)
    assert references or row.built == "no", f"nothing shows: {row.feature}"
    assert row.how or row.built == "no"
    for path, name in references:
        text = (REPOSITORY / path).read_text()
        assert re.search(rf"^(async )?def {name}\(", text, re.MULTILINE), f"{path} has no {name}"
        if "/scenarios/" in path:
            assert re.search(rf"^@scenario\(.*\)\nasync def {name}\(", text, re.MULTILINE), f"{name} is no scenario"
