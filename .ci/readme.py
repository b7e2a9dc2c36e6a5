"""Run the README's commands as written and compare what they print.

Every block marked `console` is a session: a line beginning with `$ ` is a command (a trailing backslash continues it),
the lines after it are what it must print. `...` in an expected line stands for any text, a line of `...` alone for any
number of lines; a command without expected lines may print anything. Every command must exit with 0; curl is configured
to fail on HTTP errors. Usage: readme.py FILE
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def sessions(text: str) -> list[tuple[str, list[str]]]:
    """Return (command, expected lines) pairs in order."""
    pairs: list[tuple[str, list[str]]] = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        continued = False
        for line in block.splitlines():
            if line.startswith("$ "):
                pairs.append((line[2:], []))
            elif continued:
                pairs[-1] = (pairs[-1][0] + "\n" + line, [])
            elif pairs:
                pairs[-1][1].append(line)
            continued = line.endswith("\\") and (line.startswith("$ ") or continued)
    return pairs


def matches(expected: list[str], printed: str) -> bool:
    """Return whether the printed text is what the README shows."""
    pattern = ""
    for line in "\n".join(expected).strip().splitlines():
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            # Terminals of another width change runs of blanks.
            parts = [re.escape(part) for part in re.split(r"(\.\.\.|\s+)", line.rstrip())]
            joined = "".join(r".*" if part == r"\.\.\." else part for part in parts)
            pattern += re.sub(r"(?:\\\s)+", r"\\s+", joined) + r"\s*\n"
    return re.fullmatch(pattern, printed.strip() + "\n") is not None


def main(path: str) -> int:
    """Run every session of the file; return the number of failures."""
    failures = 0
    with tempfile.TemporaryDirectory() as home:
        Path(home, ".curlrc").write_text("fail-with-body\nsilent\nshow-error\n")
        environment = {**os.environ, "CURL_HOME": home, "COLUMNS": "160"}
        for command, expected in sessions(Path(path).read_text()):
            started = time.monotonic()
            done = subprocess.run(
                ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=600, check=False
            )
            took = time.monotonic() - started
            good = done.returncode == 0 and (not expected or matches(expected, done.stdout))
            failures += not good
            print(f"{'ok  ' if good else 'FAIL'} {took:6.2f} s  $ {command}", flush=True)
            if not good:
                print(f"exit code {done.returncode}\n--- printed\n{done.stdout}{done.stderr}", flush=True)
                if expected:
                    print("--- expected\n" + "\n".join(expected), flush=True)
    print(f"{failures} of the README's commands failed" if failures else "all commands of the README succeeded")
    return failures


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
