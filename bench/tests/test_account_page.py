"""Tests of the account's table and its place in the page."""

from __future__ import annotations

import pytest

from collectionstore_bench.account.measure import Measured
from collectionstore_bench.account.samples import Account
from collectionstore_bench.account.stages import Stage
from collectionstore_bench.account.table import BEGIN, END, block, insert, render
from collectionstore_bench.generators.load import Result, Work
from collectionstore_bench.machine import Machine

PAGE = f"# Title\n\n{BEGIN}\n\n{END}\n\nThe end.\n"


def machine(commit: str) -> Machine:
    return Machine("cpu", 2, 4.0, "6", "ext4", 0.3, 0.9, 0.1, "3.11", "0.23", commit)


def test_a_commit_has_one_section_and_the_last_measurement_in_it() -> None:
    page = insert(PAGE, "abc", block(machine("abc"), "first"))
    page = insert(page, "def", block(machine("def"), "other"))
    page = insert(page, "abc", block(machine("abc"), "second"))
    assert page.count("#### Commit abc") == 1
    assert "first" not in page
    assert page.index("second") < page.index("other")
    assert page.startswith("# Title\n\n")
    assert page.endswith(f"{END}\n\nThe end.\n")


def test_a_page_without_its_place_is_refused() -> None:
    with pytest.raises(ValueError, match="does not contain"):
        insert("# Title", "abc", "text")


def test_all_stages_are_shown_and_other_is_divided_by_room() -> None:
    leader = Account({Stage.PARSE: 12.34, Stage.OTHER: 1.0}, {"collectionstore_node.new": 1.0}, 70)
    follower = Account({Stage.APPLY: 5.0}, {}, 30)
    result = Result(1000, 2.0, 1, 1, 1, {})
    text = render([Measured(Work.PUT, {"leader": leader, "follower": follower}, result)], connections=64)
    rows = {line.split()[0]: line.split()[1:3] for line in text.splitlines() if line}
    assert set(rows) >= {stage.value for stage in Stage}
    assert rows["parse"] == ["12.3", "0.0"]
    assert rows["apply"] == ["0.0", "5.0"]
    assert rows["all"] == ["13.3", "5.0"]
    assert text.startswith("500 writes/s over 64 connections")
    assert text.endswith("collectionstore_node.new 1.0")
