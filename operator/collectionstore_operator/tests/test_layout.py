"""The folder called operator: nothing in it may stand in the way of the standard library's module of that name."""

from __future__ import annotations

import operator
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[2]
PACKAGE = FOLDER / "collectionstore_operator"
STANDARD_LIBRARY_NAMES = {"collections", "http", "types", "logging"}


def test_no_python_file_lies_directly_in_the_folder() -> None:
    """A `.py` beside the package, `__init__.py` and `conftest.py` above all, would make the folder a module."""
    assert FOLDER.name == "operator"
    assert [path.name for path in FOLDER.glob("*.py*")] == []


def test_standard_operator_module_is_intact() -> None:
    """In the process that runs all tests: pytest must not have registered the folder over the module."""
    assert sys.modules["operator"] is operator
    assert operator.add(2, 3) == 5
    assert FOLDER not in Path(str(operator.__file__)).parents


def test_this_test_is_imported_as_part_of_the_package() -> None:
    """With another name pytest makes up parents for it, `operator` among them (see `consider_namespace_packages`)."""
    assert __name__ == "collectionstore_operator.tests.test_layout"


def test_standard_operator_module_is_intact_beside_the_folder() -> None:
    """Started in the repository, Python finds its own `operator` first."""
    code = "import operator, collectionstore_operator; print(operator.add(2, 3))"
    answer = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    assert answer.stdout == "5\n"


def test_tests_folder_is_no_package() -> None:
    """Tests are collected by path; a package would be shipped."""
    assert not (PACKAGE / "tests" / "__init__.py").exists()


def test_no_module_takes_a_name_of_the_standard_library() -> None:
    """`import logging` inside the package must never mean ours."""
    assert not {path.stem for path in PACKAGE.rglob("*.py")} & STANDARD_LIBRARY_NAMES
