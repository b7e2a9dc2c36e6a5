"""Every alert has its runbook, every runbook its alert, and every command in a runbook exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from collectionstore.csctl import main as csctl
from collectionstore_alerts import catalogue
from collectionstore_alerts.rules import RUNBOOKS, alerts
from collectionstore_dashboards import linting, promql
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.access import names as access_names
from collectionstore_operator.resource.backups import names

REPOSITORY = catalogue.FILE.parents[1]
FOLDER = REPOSITORY / RUNBOOKS
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
ALL = [*PAGES, FOLDER / "README.md"]

by_name = pytest.mark.parametrize("page", ALL, ids=lambda page: page.stem)


def test_alerts_and_runbooks_are_the_same() -> None:
    assert {page.stem for page in PAGES} == {alert.full_name for alert in alerts(catalogue.GROUPS)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_runbook_tells_meaning_impact_diagnosis_and_mitigation(page: Path) -> None:
    title, *parts = re.split(r"^#+ ", page.read_text(), flags=re.MULTILINE)[1:]
    assert title.strip() == page.stem
    assert [part.splitlines()[0] for part in parts] == ["Meaning", "Impact", "Diagnosis", "Mitigation"]
    assert all(len(part.split("\n", 1)[1].strip()) > 20 for part in parts)
    assert "```sh" in parts[2]


@by_name
def test_commands_of_csctl_exist_with_their_options(page: Path) -> None:
    for words, options in re.findall(r"csctl ((?:[a-z]+ ?)+)((?:-[^`\n|]*)?)", page.read_text()):
        command = _command(words.split())
        known = {name for parameter in command.params for name in parameter.opts}
        assert set(re.findall(r"(?<!\S)--?[a-z-]+", options)) <= known, words


def _command(words: list[str]) -> click.Command:
    """Return the command that words lead to; what follows a command are its arguments."""
    found: click.Command = csctl
    for word in words:
        if not isinstance(found, click.Group):
            break
        context = click.Context(found)
        below = found.get_command(context, word)
        assert below is not None, f"there is no `{word}` in csctl {' '.join(words)}"
        found = below
    return found


@by_name
def test_targets_of_make_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", page.read_text())) <= targets


@by_name
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve()
        assert found.is_file(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", found.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}, target


@by_name
def test_fields_of_the_resource_exist(page: Path) -> None:
    text = page.read_text()
    expected = [match.split(".") for match in re.findall(r"`(spec\.[A-Za-z.]+)`", text)]
    expected += [match.split(".") for match in re.findall(r"get csc[^|\n]*?\{\.(spec\.[a-z]+)", text)]
    expected += [match.split(".") for match in re.findall(r"get csc[^|\n]*?\{(?:range )?\.(status\.[A-Za-z]+)", text)]
    for patch in re.findall(r"--patch\s+'(\{.*?\})'", text):
        expected += _paths(json.loads(patch))
    for path in expected:
        assert _has(_schema(), path), ".".join(path)


@cache
def _schema() -> Any:
    definition = yaml.safe_load((REPOSITORY / "crds" / "collectionstoreclusters.collectionstore.io.yaml").read_text())
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _paths(value: Any) -> Iterator[list[str]]:
    for key, below in value.items():
        if isinstance(below, dict):
            yield from ([key, *path] for path in _paths(below))
        else:
            yield [key]


def _has(schema: Any, path: list[str]) -> bool:
    for name in path:
        schema = schema.get("items", schema)
        if name not in schema.get("properties", {}):
            return False
        schema = schema["properties"][name]
    return True


@by_name
def test_annotations_and_objects_are_those_of_the_operator(page: Path) -> None:
    constants = {**vars(labels), **{f"BACKUP_{name}": value for name, value in vars(names).items()}}
    known = {value for name, value in constants.items() if name.isupper() and isinstance(value, str)}
    known |= {value for name, value in vars(access_names).items() if name.isupper() and isinstance(value, str)}
    assert set(re.findall(r"collectionstore\.io/[a-z]+[a-z-]*", page.read_text())) <= known


@by_name
def test_series_that_are_searched_for_are_drawn_on_a_dashboard(page: Path) -> None:
    for pattern in re.findall(r"grep (?:-E )?'?\^?((?:collectionstore|process|\(process)_[^'`\s]*)", page.read_text()):
        for name in _alternatives(pattern):
            assert any(re.match(name, one) for one in _drawn()), name


@cache
def _drawn() -> set[str]:
    boards = [json.loads(path.read_text()) for path in (REPOSITORY / "dashboards").glob("*.json")]
    queries = {target["expr"] for board in boards for panel in linting.panels(board) for target in panel["targets"]}
    series = set().union(*(promql.series(query) for query in queries))
    histograms = {one.removesuffix("_bucket") for one in series if one.endswith("_bucket")}
    return series | {f"{one}_{part}" for one in histograms for part in ("sum", "count")}


def _alternatives(pattern: str) -> list[str]:
    """Return the names that a pattern matches: `a_(b|c)` is `a_b` and `a_c`."""
    inner = re.search(r"\(([^()]*)\)", pattern)
    if inner is None:
        return pattern.split("|")
    chosen = (pattern[: inner.start()] + one + pattern[inner.end() :] for one in inner[1].split("|"))
    return [name for one in chosen for name in _alternatives(one)]


@by_name
def test_members_are_asked_for_what_they_serve(page: Path) -> None:
    documented = (REPOSITORY / "docs" / "reference" / "api.md").read_text()
    for path in re.findall(r"^\s*member \S+ ([a-z/]+)", page.read_text(), re.MULTILINE):
        assert f"`/{path}`" in documented or f"GET /{path}`" in documented, path


@by_name
def test_logs_are_searched_for_events_that_are_written(page: Path) -> None:
    written = set(
        re.findall(
            r"^\| `([a-z_]+\.[a-z_]+)`", (REPOSITORY / "docs" / "reference" / "logs.md").read_text(), re.MULTILINE
        )
    )
    for patterns in re.findall(r"logs [^|\n]*\| grep -E '([^']+)'", page.read_text()):
        for pattern in patterns.split("|"):
            assert any(re.match(pattern, event) for event in written), pattern
