"""Broken pipes, closed and full streams, signals, hostile content: no traceback, no credential, the right exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from collectionstore.tests.data.running import Csctl
from collectionstore.tests.terminal import Terminal

PROGRAM = str(Path(sys.executable).with_name("csctl"))
SECRET = "hunter2-sekrit"


@pytest.fixture
def many(csctl: Csctl) -> str:
    """A collection of 3,000 documents of a kilobyte."""
    if csctl("collection", "get", "many").code:
        csctl.ok("collection", "create", "many")
        line = '{{"_id":"d{:05}","text":"' + "x" * 1_000 + '"}}\n'
        csctl.ok("import", "many", stdin="".join(line.format(at) for at in range(3_000)))
    return "many"


def sh(script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script with csctl on the PATH."""
    variables = {"PATH": f"{Path(PROGRAM).parent}:/usr/bin:/bin", **env}
    return subprocess.run(
        ["bash", "-c", script], env=variables, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.mark.parametrize(
    "command", ["find many --all -o ndjson", "find many --all", "export many", "find many --all -o json"]
)
def test_the_reader_goes_away(many: str, env: dict[str, str], command: str) -> None:
    done = sh(f"csctl {command} | head -c 100 >/dev/null; exit ${{PIPESTATUS[0]}}", env)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize(
    "command", ["find many -o ndjson", "count many", "export many", "get many d00001", "kv list b"]
)
def test_a_full_disk(many: str, env: dict[str, str], command: str) -> None:
    done = sh(f"csctl {command} > /dev/full", env)
    if command == "kv list b":
        assert done.returncode == 0  # nothing is written
        return
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    "command", ["count many", "find many", "export many", "get many d00001", "collection drop many"]
)
def test_closed_streams(many: str, env: dict[str, str], closed: str, command: str) -> None:
    done = sh(f"csctl {command} {closed}", env)
    assert done.returncode == (2 if "drop" in command else 0), done.stderr
    assert "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("command", ["put many x -", "import many", "aggregate many -", "shell", "kv put b k -"])
def test_stdin_that_is_closed(many: str, env: dict[str, str], command: str) -> None:
    done = sh(f"csctl {command} <&-", env)
    assert (done.returncode, "closed" in done.stderr or command == "shell") == (0 if command == "shell" else 2, True)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["watch", "many"], ["import", "many"], ["bench", "--seconds", "60"]])
def test_an_interrupt_ends_a_command(many: str, csctl: Csctl, env: dict[str, str], command: list[str]) -> None:
    awaited = {"watch": "insert", "import": "importing", "bench": "done"}[command[0]]
    words = ["watch", "many", "--from", "0"] if command[0] == "watch" else command
    with Terminal(["csctl", *words], env=env) as terminal:
        terminal.until(awaited)
        terminal.press("\x03")
        assert terminal.end() == (0 if command[0] == "watch" else 130)
        assert "Traceback" not in terminal.text
    assert not [
        one for one in csctl.ok("collection", "list", "-o", "json").json if one["name"].startswith("csctl-bench")
    ]


def test_an_interrupt_of_a_pipe_that_says_nothing(many: str, env: dict[str, str]) -> None:
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(
            [PROGRAM, "import", "many"],
            stdin=read_end,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/bin", **env},
            text=True,
            # It is ignored in a process that a shell has started in the background, and so in its children.
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
        )
        os.write(write_end, b'{"_id": "d00000"}\n')
        # It has read that line once the pipe takes more than it holds.
        os.write(write_end, b"\n" * 70_000)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        os.close(read_end)
        os.close(write_end)
    assert process.returncode == 130
    assert "Traceback" not in told


def test_content_does_not_reach_the_terminal(csctl: Csctl, env: dict[str, str]) -> None:
    csctl.ok("collection", "create", "evil")
    csctl.ok("put", "evil", "a", '{"title": "\\u001b]0;owned\\u0007 \\u009b31m \\u202e", "\\u001b[2Jkey": 1}')
    csctl.ok("kv", "put", "evil", "v", "\x1b[2J\x9b31m")
    for words in (
        ["find", "evil"],
        ["get", "evil", "a"],
        ["find", "evil", "-o", "ndjson"],
        ["watch", "evil", "--from", "0", "--no-wait"],
        ["kv", "get", "evil", "v"],
        ["distinct", "evil", "title"],
    ):
        with Terminal(["csctl", *words], env={**env, "NO_COLOR": "1"}) as terminal:
            assert terminal.end() == 0
            odd = {one for one in terminal.raw if ord(one) < 32 or 0x7F <= ord(one) < 0xA0} - {"\r", "\n", "\t"}
            assert odd <= {"\x1b"}
            assert all(one not in terminal.raw for one in ("\x1b]0", "\x1b[2J", "\u202e", "\x9b"))


@pytest.mark.parametrize(
    "words",
    [
        ["count", "x", "--url", f"http://ada:{SECRET}@127.0.0.1:1", "--timeout", "200ms"],
        ["count", "x", "--url", f"http://ada:{SECRET}@127.0.0.1:99999"],
        ["count", "x", "--url", f"https://ada:{SECRET}@127.0.0.1:1/?tls_ca=/nowhere", "--timeout", "200ms"],
        ["count", "x", "--url", f"collectionstore://127.0.0.1:1/?token={SECRET}&nonsense=1"],
        ["count", "x", "--url", f"collectionstore://store.example.org/?tls=false&token={SECRET}"],
        ["context", "set", "a", "--url", f"nonsense://ada:{SECRET}@x"],
        ["whoami", "--url", f"http://ada:{SECRET}@127.0.0.1:1", "--timeout", "200ms"],
    ],
)
def test_credentials_are_in_no_output(csctl: Csctl, words: list[str]) -> None:
    outcome = csctl(*words)
    assert outcome.code != 0
    assert SECRET not in outcome.out + outcome.err


@pytest.mark.parametrize(
    "command",
    [
        "find many $'a=\\xff'",
        "find $'\\xff'",
        "get many $'\\xff'",
        "put many x $'a=\\xff'",
        "put many $'\\xff' a=1",
        """find many '{"a": "\\ud800"}'""",
        """put many x '{"_id": "x", "a": "\\ud800"}'""",
        "count many --context $'\\xff'",
        "context set $'\\xff' --local",
        "export many $'/nowhere/\\xff'",
        "find many \"$(printf 'a=%0100000d' 1)\"",
        'find many --columns "$(seq -s, 1 5000)"',
        "aggregate many \"$(printf '[%.0s' $(seq 20000))\"",
        "put many x @/dev/zero",
        "import many /dev/zero --dry-run --format csv --nonsense",
    ],
)
def test_odd_and_huge_arguments(many: str, env: dict[str, str], command: str) -> None:
    done = sh(f"csctl {command}", env)
    assert done.returncode in (0, 1, 2, 3, 5, 7)
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr) < 3_000


@pytest.mark.parametrize("columns", [60, 100, 160])
def test_tables_fit_the_terminal(csctl: Csctl, env: dict[str, str], columns: int) -> None:
    csctl.ok("collection", "create", "wide", "--if-absent")
    csctl.ok("put", "wide", "a", *(f"field{at}={'y' * at * 7}" for at in range(1, 12)))
    for words in (
        ["find", "wide"],
        ["role", "list"],
        ["collection", "list"],
        ["watch", "wide", "--from", "0", "--no-wait"],
    ):
        with Terminal(["csctl", *words], columns=columns, env=env) as terminal:
            assert terminal.end() == 0
            lines = [line for line in terminal.text.splitlines() if not line.startswith("Not shown")]
            assert max(len(line) for line in lines) <= columns


@pytest.mark.parametrize(("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colors_are_for_terminals(
    csctl: Csctl, env: dict[str, str], variables: dict[str, str], *, colored: bool
) -> None:
    csctl.ok("collection", "create", "colors", "--if-absent")
    csctl.ok("put", "colors", "a", "b=null")
    with Terminal(["csctl", "get", "colors", "a"], env={**env, **variables}) as terminal:
        assert terminal.end() == 0
        assert ("\x1b[" in terminal.raw) is colored
    assert "\x1b" not in csctl.ok("get", "colors", "a").out


def test_progress_is_a_bar_on_a_terminal(csctl: Csctl, env: dict[str, str], tmp_path: Path) -> None:
    csctl.ok("collection", "create", "bar")
    file = tmp_path / "in.ndjson"
    file.write_text("".join(f'{{"_id":"d{at}","text":"{"x" * 500}"}}\n' for at in range(2_000)))
    with Terminal(["csctl", "import", "bar", str(file)], columns=80, env=env) as terminal:
        assert terminal.end() == 0
        assert "importing into bar" in terminal.text
        assert terminal.text.rstrip().endswith("bar: 2000 lines, 2000 inserted")
    quiet = sh(f"csctl export bar {tmp_path}/out.ndjson", env)
    assert (quiet.returncode, quiet.stdout, "2000 documents" in quiet.stderr) == (0, "", True)
    assert "\x1b" not in quiet.stderr
