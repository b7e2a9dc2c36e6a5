"""What is made is current, and made from what it says: nothing in it is written by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from collectionstore_charts import readme, rules
from collectionstore_charts.helm import CHARTS, CLUSTER, OPERATOR
from collectionstore_operator.kubernetes.api.permissions import Permission


def test_all_made_files_are_current() -> None:
    command = [sys.executable, str(CHARTS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_permission_becomes_the_rule_that_grants_it() -> None:
    assert rules.rule(Permission("", "pods", ("get", "list"))) == {
        "apiGroups": [""],
        "resources": ["pods"],
        "verbs": ["get", "list"],
    }
    named = rules.rule(Permission("certificates.k8s.io", "signers", ("sign",), everywhere=True, name="a/b"))
    assert named["resourceNames"] == ["a/b"]


@pytest.mark.parametrize("chart", [OPERATOR, CLUSTER], ids=lambda chart: chart.name)
def test_every_value_has_a_row(chart: Path) -> None:
    table = (chart / "README.md").read_text()
    for value in readme.values(chart / "values.yaml"):
        assert f"| `{value.path}` |" in table


def test_a_value_without_a_description_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "values.yaml").write_text(
        "# -- Told.\na: 1\n# Just a remark.\nb:\n  # -- Told, too:\n  # at length.\n  c: [1]\n"
    )
    assert readme.values(tmp_path / "values.yaml") == [
        readme.Value("a", "1", "Told."),
        readme.Value("b.c", "[1]", "Told, too: at length."),
    ]
    (tmp_path / "values.yaml").write_text("a: 1\n")
    with pytest.raises(readme.UndocumentedValue, match="a has no comment"):
        readme.values(tmp_path / "values.yaml")


def test_a_table_replaces_what_was_there_and_nothing_else() -> None:
    text = "before\n<!-- values: made by x -->\nold\n<!-- end -->\nafter\n"
    assert readme.with_tables(text, {"values": "new\n"}) == (
        "before\n<!-- values: made by x -->\nnew\n<!-- end -->\nafter\n"
    )
