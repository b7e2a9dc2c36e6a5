"""The shell on a pseudo-terminal: several lines, completion, history, Ctrl-C, and scripts."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from collectionstore.shell.prompt import History
from collectionstore.tests.data.running import Csctl
from collectionstore.tests.terminal import Terminal


def test_a_session(csctl: Csctl, env: dict[str, str], tmp_path: Path) -> None:
    csctl.ok("collection", "create", "bookshelf")
    csctl.ok("put", "bookshelf", "dune", "title=Dune", "year=1965")
    with Terminal(["csctl", "shell"], env=env) as terminal:
        assert "help for help" in terminal.until("exit to leave.")
        terminal.until("csctl>")
        # JSON without quotes, over two lines.
        terminal.press('count bookshelf {"year":\r')
        terminal.until("...")
        terminal.press('{"$gt": 1900}}\r')
        terminal.until("\n1\n")
        terminal.until("csctl>")
        # Completion of commands and of collections, as bash has it.
        terminal.press("coun\t")
        terminal.until("coun")
        terminal.until("t")
        terminal.press("books\t")
        terminal.until("helf")
        terminal.press("\r")
        terminal.until("\n1\n")
        terminal.until("csctl>")
        # The exit code of a command that fails is in the prompt, and no traceback anywhere.
        terminal.press("get bookshelf nope\r")
        terminal.until("document_not_found")
        terminal.until("(5)>")
        # Ctrl-C ends a watch, not the shell; Ctrl-C at the prompt drops the line.
        terminal.press("watch bookshelf --from 0\r")
        terminal.until("insert")
        terminal.press("\x03")
        terminal.until("csctl>")
        terminal.press("nonsense\x03")
        terminal.press("distinct bookshelf year\r")
        terminal.until("1965")
        terminal.until("csctl>")
        terminal.press("\x04")
        assert terminal.end() == 0
        assert "Traceback" not in terminal.text
    history = tmp_path / "state" / "collectionstore" / "shell-history"
    assert history.stat().st_mode & 0o777 == 0o600
    assert "+distinct bookshelf year" in history.read_text()


def test_the_history_is_searched_in_the_next_shell(csctl: Csctl, env: dict[str, str]) -> None:
    csctl.ok("collection", "create", "remembered")
    with Terminal(["csctl", "shell"], env=env) as terminal:
        terminal.until("csctl>")
        terminal.press("count remembered\r")
        terminal.until("\n0\n")
        terminal.until("csctl>")
        terminal.press("exit\r")
        assert terminal.end() == 0
    with Terminal(["csctl", "shell"], env=env) as terminal:
        terminal.until("csctl>")
        terminal.press("\x12ount rem")
        terminal.until("count remembered")
        terminal.press("\r\r")
        terminal.until("\n0\n")
        terminal.until("csctl>")
        terminal.press("\x04")
        assert terminal.end() == 0


def test_destruction_is_asked_about(csctl: Csctl, env: dict[str, str]) -> None:
    csctl.ok("collection", "create", "precious")
    with Terminal(["csctl", "collection", "drop", "precious"], env=env) as terminal:
        terminal.until("Drop the collection precious with 0 documents? [y/N]:")
        terminal.press("n\r")
        assert terminal.end() == 1
    csctl.ok("collection", "get", "precious")
    with Terminal(["csctl", "collection", "drop", "precious"], env=env) as terminal:
        terminal.until("[y/N]:")
        terminal.press("y\r")
        assert terminal.end() == 0
    assert csctl("collection", "get", "precious").code == 5


def test_a_password_is_typed_without_being_shown(csctl: Csctl, env: dict[str, str]) -> None:
    csctl.ok("context", "set", "here", "--url", csctl.url)
    with Terminal(["csctl", "login", "ada", "--context", "here"], env=env) as terminal:
        terminal.until("Password:")
        terminal.press("hunter2-sekrit\r")
        assert terminal.end() != 0
        assert "sekrit" not in terminal.raw
        assert "Traceback" not in terminal.text


@pytest.mark.parametrize(
    ("script", "arguments", "code", "shown"),
    [
        ('put s a n=1\ncount s {"n":\n1}\n', (), 0, "1\n"),
        ("count nope\ncount s\n", (), 5, ""),
        ("count nope\ncount s\n", ("--keep-going",), 5, "0\n"),
        ("# nothing\n\nexit\ncount nope\n", (), 0, ""),
        ("count s '", (), 2, ""),
        ("shell\n", (), 2, ""),
    ],
)
def test_scripts(
    csctl: Csctl, request: pytest.FixtureRequest, script: str, arguments: tuple[str, ...], code: int, shown: str
) -> None:
    csctl.ok("collection", "create", "s", "--if-absent")
    csctl.ok("delete", "s", "--all", "--yes")
    outcome = csctl("shell", *arguments, stdin=script)
    assert (outcome.code, outcome.out.endswith(shown)) == (code, True), outcome.err


def test_lines_with_credentials_are_not_remembered(tmp_path: Path) -> None:
    history = History(tmp_path / "history")
    for line in ("find a --url https://ada:sekrit@host", "x --url http://h?token=sekrit", " secret words", "count a"):
        history.store_string(line)
    with contextlib.closing((tmp_path / "history").open()) as file:
        text = file.read()
    assert "sekrit" not in text
    assert "secret" not in text
    assert "+count a" in text
