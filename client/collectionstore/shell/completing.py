"""What the shell completes: the same as bash, zsh and fish do, by click."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click
from click.shell_completion import ShellComplete
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from collectionstore.cli.words import last_word


class CommandCompleter(Completer):
    """Completes commands, options and names; `shared` returns what the contexts of commands share, as their `obj`."""

    def __init__(self, root: click.Command, words: Sequence[str], shared: Callable[[], object]) -> None:
        self._root = root
        self._words = tuple(words)
        """Commands of the shell itself."""
        self._shared = shared

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield what the word before the cursor may become; none within JSON and quotes."""
        words, incomplete = last_word(document.text_before_cursor)
        if incomplete[:1] in ("{", "[", "'", '"'):
            return
        if not words:
            for one in self._words:
                if one.startswith(incomplete):
                    yield Completion(f"{one} ", start_position=-len(incomplete), display=one)
        complete = _Complete(self._root, {"obj": self._shared()}, "csctl", "")
        for item in complete.get_completions(words, incomplete):
            if item.type == "plain":
                meta: Any = item.help or ""
                text = str(item.value)
                # With a space behind it, as bash completes a word that is whole.
                yield Completion(f"{text} ", -len(incomplete), display=text, display_meta=str(meta)[:60])


class _Complete(ShellComplete):
    """What click knows of completion, without a shell around it."""

    name = "csctl"
    source_template = ""
