"""Runs csctl's commands in this process, against a real engine in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from collectionstore.csctl import main


class Outcome:
    """What a command has written, and how it ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        """stdout as JSON."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        """Lines of stdout."""
        return self.out.splitlines()


class Csctl:
    """csctl with an environment of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.environment: dict[str, str | None] = {
            "COLLECTIONSTORE_URL": url,
            "COLLECTIONSTORE_CONTEXTS": str(folder / "contexts.json"),
            "COLLECTIONSTORE_CONTEXT": None,
            "COLLECTIONSTORE_OUTPUT": None,
            "XDG_STATE_HOME": str(folder / "state"),
            "COLUMNS": None,
        }

    def __call__(
        self, *words: str, stdin: str | bytes | None = None, env: Mapping[str, str | None] | None = None
    ) -> Outcome:
        """Run a command, however it ends. Nothing it does may be a traceback."""
        result = CliRunner().invoke(main, list(words), input=stdin, env={**self.environment, **(env or {})})
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
        assert "Traceback" not in result.output, result.output
        return Outcome(result.exit_code, result.stdout, result.stderr)

    def ok(self, *words: str, stdin: str | bytes | None = None) -> Outcome:
        """Run a command that must succeed."""
        outcome = self(*words, stdin=stdin)
        assert outcome.code == 0, outcome.err
        return outcome

    def documents(self, collection: str) -> list[dict[str, Any]]:
        """Return all documents of a collection."""
        found: list[dict[str, Any]] = self.ok("find", collection, "--all", "-o", "json").json
        return found
