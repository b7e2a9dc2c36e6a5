"""Every safety row and the latest rows of liveness have a mutant; each applies to today's code, and names what exists.

Whether they are caught takes minutes: `make mutants`.
"""

from __future__ import annotations

import re

import pytest

from collectionstore_node.tests.mutants.mutant import PACKAGE, Mutant, applies, read_mutants

MUTANTS = read_mutants()
TESTS = PACKAGE / "tests"


def test_every_safety_row_has_one_mutant() -> None:
    """S1 to S22; liveness found here since N3; P, the peer port; C, costs and retries; W, syncs; M, notices."""
    rows = [mutant.row for mutant in MUTANTS]
    assert [row for row in rows if row.startswith("S")] == [f"S{number:02}" for number in range(1, 23)]
    assert {row for row in rows if row.startswith("N")} == {f"N{number:02}" for number in range(3, 7)}
    assert [row for row in rows if row.startswith("P")] == [f"P{number:02}" for number in range(1, 16)]
    assert [row for row in rows if row.startswith("C")] == [f"C{number:02}" for number in range(1, 19)]
    assert [row for row in rows if row.startswith("W")] == [f"W{number:02}" for number in range(1, 8)]
    assert [row for row in rows if row.startswith("M")] == [f"M{number:02}" for number in range(1, 5)]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.path.stem)
def test_patch_applies_to_the_code_of_today(mutant: Mutant) -> None:
    """One that does not proves nothing; README.md says how to renew it."""
    assert applies(mutant) == ""
    assert mutant.files


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.path.stem)
def test_named_tests_exist(mutant: Mutant) -> None:
    """Each is a story, or a function of the file that it is said to be in."""
    for test in mutant.tests:
        file, function = test.split("::")
        if story := re.fullmatch(r"test_story\[(.+)\]", function):
            assert (TESTS / file).with_name(f"{story[1]}.txt").exists()
        else:
            assert re.search(rf"^(async )?def {function}\(", (TESTS / file).read_text(), re.MULTILINE), test
