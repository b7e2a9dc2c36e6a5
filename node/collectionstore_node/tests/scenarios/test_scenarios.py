"""Every story plays as it is written; every row of the list of known bugs names its tests, and they exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from collectionstore_node.tests.scenarios.run import FOLDER, difference, stories
from collectionstore_node.tests.scenarios.story import Step, rewritten, steps

TESTS = FOLDER.parent
ROOT = TESTS.parents[2]
ROWS = (
    [f"S{number}" for number in range(1, 23)]
    + [f"L{number}" for number in range(1, 22)]
    + [f"N{number}" for number in range(1, 7)]
)
UNTESTED: set[str] = set()
"""Rows that no test covers at all. Shrinks; grows only by decision."""


class Row(NamedTuple):
    """A line of the table in README.md."""

    name: str
    bug: str
    story: str
    tests: list[str]
    missing: str


def read_table() -> list[Row]:
    """Return the rows of the table."""
    rows = []
    for line in (FOLDER / "README.md").read_text().splitlines():
        if re.match(r"\| [SLN]\d+ \|", line):
            name, bug, story, tests, missing = (cell.strip() for cell in line.strip("|").split("|"))
            rows.append(Row(name, bug, story, tests.split(), missing))
    return rows


TABLE = read_table()


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_story(path: Path) -> None:
    """Played again, a story prints what it says."""
    assert difference(path) == ""


@pytest.mark.parametrize("path", stories(), ids=lambda path: path.stem)
def test_story_says_what_it_is_about(path: Path) -> None:
    """It begins with its row, and cites where the bug was seen."""
    row = f"{path.name[0].upper()}{int(path.name[1:3])}"
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert comments[0].startswith(f"# {row}: ")
    assert any(comment.startswith("# Seen in: ") for comment in comments[1:8])


def test_table_has_every_row_once_in_order() -> None:
    """S1 to S22, L1 to L21, and what was found here."""
    assert [row.name for row in TABLE] == ROWS


def test_table_names_every_story() -> None:
    """No story is lost, and none is named that does not exist."""
    assert sorted(row.story for row in TABLE if row.story) == sorted(path.name for path in stories())


def test_rows_without_a_test_are_the_known_ones() -> None:
    """And they say what is missing."""
    assert {row.name for row in TABLE if not row.story and not row.tests} == UNTESTED
    assert all(row.missing for row in TABLE if row.name in UNTESTED)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.name)
def test_named_tests_exist(row: Row) -> None:
    """Each test is a function of the file that it is said to be in."""
    for test in row.tests:
        file, function = test.split("::")
        base = ROOT if file.startswith(("operator/", "local/", "tests/")) else TESTS
        assert re.search(rf"^(async )?def {function}\(", (base / file).read_text(), re.MULTILINE), test


def test_rewriting_replaces_what_was_printed_and_nothing_else() -> None:
    """Comments, blank lines and commands stay as they are."""
    text = "# title\n\none\n    old\n    old\ntwo\n\n# end\n"

    def run(step: Step) -> list[str]:
        return {"one": ["new"], "two": ["more", "lines"]}[step.command]

    after = rewritten(text, run)
    assert after == "# title\n\none\n    new\ntwo\n    more\n    lines\n\n# end\n"
    assert rewritten(after, run) == after


def test_printed_line_without_a_command_is_refused() -> None:
    """It would be thrown away otherwise."""
    with pytest.raises(ValueError, match="line 2"):
        list(steps("# title\n    stray\n"))
