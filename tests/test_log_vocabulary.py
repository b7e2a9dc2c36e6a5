"""Every log line of every program is a declared event with declared fields, and every one declared is used."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from collectionstore_local import log_vocabulary as local_vocabulary
from collectionstore_node.logs import vocabulary as node_vocabulary
from collectionstore_operator.observability.logs import vocabulary as operator_vocabulary
from collectionstore_telemetry.logs import vocabulary as shared_vocabulary

ROOT = Path(__file__).parents[1]
LOGGERS = {"log", "logger", "_log", "_logger"}
WRITES = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log", "msg"}

PROGRAMS = {
    "node": (ROOT / "node/collectionstore_node", node_vocabulary),
    "operator": (ROOT / "operator/collectionstore_operator", operator_vocabulary),
    "local": (ROOT / "local/collectionstore_local", local_vocabulary),
    "telemetry": (ROOT / "telemetry/collectionstore_telemetry", shared_vocabulary),
}


class Call(NamedTuple):
    """One call that writes a line; `fields` without `exc_info`."""

    place: str
    level: str
    event: str
    fields: frozenset[str]
    error: bool


def calls(text: str, name: str) -> Iterator[Call]:
    """Yield the log calls of a module. Fails for one that cannot be read without running it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (level := _writes(node)):
            yield _call(node, level, f"{name}:{node.lineno}")


def _writes(node: ast.Call) -> str | None:
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr in WRITES:
        value = function.value
        if isinstance(value, ast.Name) and value.id in LOGGERS:
            return function.attr
    return None


def _call(node: ast.Call, level: str, place: str) -> Call:
    assert level in ("debug", "info", "warning", "error", "exception"), f"{place}: {level}"
    assert len(node.args) == 1, f"{place}: one event and named fields"
    event = node.args[0]
    assert isinstance(event, ast.Constant), f"{place}: the event must be written out"
    assert isinstance(event.value, str), place
    names = {keyword.arg for keyword in node.keywords}
    assert None not in names, f"{place}: ** hides which fields there are"
    fields = frozenset(name for name in names if name is not None)
    error = level == "exception" or "exc_info" in fields
    return Call(place, "error" if level == "exception" else level, event.value, fields - {"exc_info"}, error)


def modules(package: Path) -> Iterator[Path]:
    return (path for path in sorted(package.rglob("*.py")) if "tests" not in path.relative_to(package).parts)


def calls_of(package: Path) -> list[Call]:
    return [call for path in modules(package) for call in calls(path.read_text(), str(path.relative_to(ROOT)))]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_call_is_declared(program: str) -> None:
    package, vocabulary = PROGRAMS[program]
    events = {event.name: event for event in vocabulary.EVENTS}
    found = calls_of(package)
    assert len(found) >= len(vocabulary.EVENTS) - 1
    for call in found:
        assert call.event in events, f"{call.place}: {call.event} is not in vocabulary.py"
        declared = events[call.event]
        assert call.level in declared.levels, f"{call.place}: {call.event} is declared as {declared.levels}"
        assert call.fields <= set(declared.fields), f"{call.place}: {call.fields - set(declared.fields)}"
        assert declared.error or not call.error, f"{call.place}: {call.event} is declared without an exception"


@pytest.mark.parametrize("program", PROGRAMS)
def test_everything_declared_is_used(program: str) -> None:
    package, vocabulary = PROGRAMS[program]
    used: dict[str, set[str]] = defaultdict(set)
    levels: dict[str, set[str]] = defaultdict(set)
    errors = set()
    for call in calls_of(package):
        used[call.event] |= call.fields
        levels[call.event].add(call.level)
        if call.error:
            errors.add(call.event)
    for event in vocabulary.EVENTS:
        if event.name == "library.logged":
            continue  # made by the formatter from records of the standard library's logging
        assert used[event.name] == set(event.fields), event.name
        assert levels[event.name] == set(event.levels), event.name
        assert event.error == (event.name in errors), event.name


@pytest.mark.parametrize("program", PROGRAMS)
def test_names_are_a_noun_and_what_happened_to_it(program: str) -> None:
    _, vocabulary = PROGRAMS[program]
    names = [event.name for event in vocabulary.EVENTS]
    assert len(names) == len(set(names))
    for event in vocabulary.EVENTS:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*", event.name), event.name
        assert event.meaning.endswith("."), event.name
        assert not set(event.fields) & set(vocabulary.FIELDS), f"{event.name}: fields that every line has"


@pytest.mark.parametrize("program", PROGRAMS)
def test_nothing_goes_past_the_vocabulary(program: str) -> None:
    """Loggers are made under the name that is looked for, and the standard library's are only set up."""
    package, _ = PROGRAMS[program]
    for path in modules(package):
        text = path.read_text()
        for made in re.findall(r"(\w+)\s*(?::[^=\n]+)?=\s*structlog\.get_logger\(", text):
            assert made == "log", path
        assert not re.search(r"\.(bind|new)\(.*\)\.(debug|info|warning|error|exception)\(", text), path
        if path.parent.name != "logs":
            assert "logging.getLogger" not in text, path


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("log.info(f'x.{y}')", "written out"),
        ("log.info('x.happened', **facts)", "hides"),
        ("log.info('x.happened', value)", "named fields"),
        ("log.critical('x.happened')", "critical"),
    ],
)
def test_a_call_that_cannot_be_read_is_refused(line: str, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        list(calls(line, "module.py"))


def test_the_page_is_current() -> None:
    command = [sys.executable, str(ROOT / "docs/generate_logs.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
