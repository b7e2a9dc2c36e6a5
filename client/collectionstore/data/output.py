"""Results on stdout in the format of `-o`, and remarks on stderr."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import click

from collectionstore.cli import streams
from collectionstore.cli.yaml_reader import load_yaml
from collectionstore.data.arguments import ArgumentInvalid, names_of
from collectionstore.render.json_text import compact, parse, printable
from collectionstore.render.writers import FORMATS, ColumnsNeeded, Look, Writer, json_document, writer

OUTPUT: Final = "COLLECTIONSTORE_OUTPUT"


class Output:
    """How one command shows what it found."""

    def __init__(self, output: str, columns: str | None = None) -> None:
        self.format = output
        self._columns = names_of(columns, "the columns") if columns else []

    @property
    def people(self) -> bool:
        """Whether it is for people, who want sentences and not documents."""
        return self.format == "table"

    def documents(self, *, hidden: Sequence[str] = (), titles: Mapping[str, str] | None = None) -> Documents:
        """Return what takes documents, one after the other; `hidden` columns are shown only if they are named."""
        return self._documents(hidden, titles or {})

    def rows(
        self, found: Iterable[Mapping[str, Any]], *, titles: Mapping[str, str] | None = None, empty: str = ""
    ) -> None:
        """Show all of these; `empty` is said to people where there are none."""
        shown = self.documents(titles=titles)
        for one in found:
            shown.add(compact(one))
        if not shown.count and self.people:
            note(empty)
            return
        shown.end()

    def result(self, document: Mapping[str, Any], sentence: str) -> None:
        """Show the result of a change: a sentence to people, a document else."""
        if self.people:
            streams.write(printable(sentence) + "\n")
        else:
            self.document(compact(document))

    def document(self, text: str) -> None:
        """Show one document; as a table it is JSON, which shows all of it."""
        look = self._look((), {})
        if self.format in ("table", "json") and not self._columns:
            streams.write(json_document(text, look))
            return
        if self.format == "yaml" and look.dump_yaml is not None:
            streams.write(look.dump_yaml(parse(text)))
            return
        shown = self._documents((), {})
        shown.add(text)
        shown.end()

    def _documents(self, hidden: Sequence[str], titles: Mapping[str, str]) -> Documents:
        omitted: list[str] = []
        look = self._look(hidden, titles)
        look.omitted = omitted.extend
        return Documents(writer(self.format, look), omitted)

    def _look(self, hidden: Sequence[str], titles: Mapping[str, str]) -> Look:
        return Look(
            columns=self._columns,
            width=streams.width(sys.stdout) if self.format == "table" else None,
            colors=streams.colored(sys.stdout),
            terminal=streams.is_terminal(sys.stdout),
            hidden=hidden,
            titles=titles,
            dump_yaml=_yaml() if self.format == "yaml" else None,
        )


class Documents:
    """Takes JSON texts of documents, and writes them as their format allows."""

    def __init__(self, made: Writer, omitted: Sequence[str]) -> None:
        self._writer = made
        self._omitted = omitted
        self.count = 0

    def add(self, text: str) -> None:
        """Show a document."""
        self.count += 1
        try:
            self._write(self._writer.add(text))
        except ColumnsNeeded as error:
            raise ArgumentInvalid(f"{error}; or csctl export, which takes any number") from error

    def end(self) -> None:
        """Show the rest."""
        self._write(self._writer.end())
        if self._omitted:
            streams.flush()
            _say_omitted(tuple(dict.fromkeys(self._omitted)))

    def _write(self, text: str) -> None:
        if text:
            streams.write(text)


def note(text: str) -> None:
    """Say something beside the result, on stderr."""
    if text:
        click.echo(printable(text), err=True)


def output_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add `-o` and `--columns`, and pass `out` in their stead."""

    @functools.wraps(function)
    def command(*args: Any, output: str, columns: str | None, **rest: Any) -> None:
        function(*args, out=Output(output, columns), **rest)

    for option in (
        click.option("--columns", metavar="PATHS", help="Columns of a table or CSV: title,home.city,items.0"),
        click.option(
            "-o",
            "--output",
            type=click.Choice(FORMATS),
            default="table",
            envvar=OUTPUT,
            show_default=True,
            help="Output format.",
        ),
    ):
        command = option(command)
    return command


def _yaml() -> Callable[[Any], str]:
    yaml = load_yaml()
    return lambda value: str(yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100))


def _say_omitted(titles: Sequence[str]) -> None:
    names = ", ".join(titles[:8]) + (f" and {len(titles) - 8} more" if len(titles) > 8 else "")
    note(f"Not shown for lack of space: {names}. --columns chooses, -o json shows all.")
