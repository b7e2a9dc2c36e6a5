"""Tests of the one change that a run makes to rules."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from collectionstore_observe import rules
from collectionstore_observe.errors import ObserveFailed

FILES = {
    "a.yaml": {
        "groups": [
            {
                "name": "g",
                "interval": "30s",
                "rules": [
                    {
                        "alert": "Slow",
                        "expr": "a[5m] > 1",
                        "for": "1h30m",
                        "keep_firing_for": "5m",
                        "labels": {"x": "y"},
                    },
                    {"alert": "Quick", "expr": "b", "for": "2s"},
                    {"record": "r", "expr": "sum(c)"},
                ],
            }
        ]
    }
}


def test_only_the_time_a_condition_holds_is_shortened() -> None:
    group = rules.hurried(FILES, 2.0)["a.yaml"]["groups"][0]
    assert group == {
        "name": "g",
        "interval": "2000ms",
        "rules": [
            {"alert": "Slow", "expr": "a[5m] > 1", "for": "4s", "keep_firing_for": "4s", "labels": {"x": "y"}},
            {"alert": "Quick", "expr": "b", "for": "2s"},
            {"record": "r", "expr": "sum(c)"},
        ],
    }
    assert FILES["a.yaml"]["groups"][0]["interval"] == "30s"


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    paths = rules.write(FILES, tmp_path / "rules")
    assert rules.load(paths) == FILES
    assert [rule.get("alert") for rule in rules.rules(rules.load(paths))] == ["Slow", "Quick", None]


def test_no_rules_at_all_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.write_text(yaml.safe_dump({"groups": []}))
    with pytest.raises(ObserveFailed, match="no rules"):
        rules.load([path])


def test_durations() -> None:
    assert [rules.seconds(one) for one in ("5s", "1h30m", "250ms")] == [5, 5400, 0.25]
    for wrong in ("", "5", "5 s", "s5"):
        with pytest.raises(ValueError, match="not a duration"):
            rules.seconds(wrong)
