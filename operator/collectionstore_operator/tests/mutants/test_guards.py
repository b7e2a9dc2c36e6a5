"""The list of guards is of today's code; whether each is missed is for `python -m ...mutants.run`, which takes long."""

from __future__ import annotations

import pytest

from collectionstore_operator.tests.mutants.guards import PACKAGE, Guard, read_guards, without
from collectionstore_operator.tests.mutants.run import STAGES


@pytest.mark.parametrize("guard", read_guards(), ids=lambda guard: guard.name)
def test_guard_stands_where_the_list_says(guard: Guard) -> None:
    """Once, and the file without it is still Python."""
    source = (PACKAGE / guard.file).read_text()
    mutant = without(guard, source)
    assert mutant != source
    compile(mutant, guard.file, "exec")


def test_names_are_unique() -> None:
    names = [guard.name for guard in read_guards()]
    assert len(set(names)) == len(names)


def test_every_test_of_the_planner_looks_for_guards() -> None:
    """One that is in no stage would leave a guard unseen that it misses."""
    looking = {name for stage in STAGES for name in stage}
    tests = {path.relative_to(PACKAGE / "tests").as_posix() for path in PACKAGE.glob("tests/planning/test_*.py")}
    assert tests <= looking
