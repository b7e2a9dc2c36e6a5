"""csctl export: a collection into a file or to stdout, complete or not at all, and continued where it was cut."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import click
import msgspec

from collectionstore.cli import streams
from collectionstore.cli.asking import confirm
from collectionstore.cli.exit_codes import ExitCode
from collectionstore.data import arguments, porting_state
from collectionstore.data.completion import complete_collection
from collectionstore.data.options import DataCommand, connection_options, expanded, yes_option
from collectionstore.data.output import note
from collectionstore.data.porting_state import ExportState, StateInvalid
from collectionstore.data.problems import DataError
from collectionstore.data.progress import Bar
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.errors import CollectionStoreError
from collectionstore.render.json_text import compact, printable

TRAILER: Final = b'{"_trailer":'
TRIES_MAX: Final = 20
"""How often in a row an export is begun again without a line in between."""
PAUSE_S: Final = 0.5
PAUSE_MAX_S: Final = 10.0
SAVED_LINES: Final = 5_000
"""Lines of a file after which the state is saved."""


class _Row(msgspec.Struct):
    id: str = msgspec.field(name="_id")


class TrailerWrong(CollectionStoreError):
    """The lines are not those that the trailer of the export counts."""


@click.command("export", cls=DataCommand, short_help="Export documents as NDJSON or CSV.")
@click.argument("collection", shell_complete=complete_collection)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@click.option(
    "--format", "kind", type=click.Choice(["ndjson", "csv"]), help="[default: by the name of FILE, else ndjson]"
)
@click.option("-w", "--where", multiple=True, metavar="FILTER", help="Only what matches; may be repeated.")
@click.option("-f", "--fields", metavar="FIELDS", help="Only these fields (title,home.city), the columns of CSV.")
@click.option("--at-revision", type=click.IntRange(min=0), metavar="N", help="The state at this revision.")
@click.option("--no-trailer", is_flag=True, help="Without the last line that proves it complete.")
@click.option("--restart", is_flag=True, help="Begin anew, and forget what an earlier run has written.")
@yes_option
@connection_options
def export(
    collection: str,
    file: Path,
    kind: str | None,
    where: tuple[str, ...],
    fields: str | None,
    at_revision: int | None,
    session: Session,
    *,
    no_trailer: bool,
    restart: bool,
    yes: bool,
) -> None:
    """Export documents to FILE or stdout: all of one state, in the order of their IDs.

    FILE appears when it is complete: until then the lines are in FILE.part. An export of NDJSON that loses its member
    goes on with another one, in the same state; interrupted, the same command goes on where it was.

    \b
    Examples:
      csctl export books books.ndjson
      csctl export books books.csv --fields title,year
      csctl export books --where 'year>=1950' | gzip > new.ndjson.gz
    """
    kind = kind or ("csv" if file.name.endswith(".csv") else "ndjson")
    if kind == "csv" and not fields:
        raise click.UsageError("CSV needs --fields: they are its columns")
    body: dict[str, Any] = {"format": kind}
    if where:
        body["filter"] = arguments.filter_of(expanded(where))
    if fields:
        body["fields"] = arguments.names_of(fields, "the fields")
    what = f"cannot export {collection}"
    if str(file) == "-":
        lines = _Lines(streams.write_bytes, kind)
        session.run(lambda store: _run(store, collection, body, at_revision, lines, None, quiet=True), what)
        if kind == "ndjson" and not no_trailer:
            streams.write_bytes(lines.trailer())
        return
    if file.exists():
        confirm(f"Replace {file}?", yes=yes)
    part, state_file = file.with_name(f"{file.name}.part"), file.with_name(f"{file.name}.part.json")
    place = session.target.place
    options = {"body": compact(body), "at_revision": str(at_revision)}
    earlier = None if restart else porting_state.read_export(state_file)
    if earlier is not None and (earlier.place, earlier.collection, earlier.options) != (place, collection, options):
        raise StateInvalid(f"{part} is of another export; go on with that, or begin anew: --restart")
    lines = _continued(part, earlier, kind)
    save = _saver(state_file, place, collection, options, lines) if kind == "ndjson" else None
    try:
        session.run(lambda store: _run(store, collection, body, at_revision, lines, save, quiet=False), what)
        if kind == "ndjson" and not no_trailer:
            lines.write(lines.trailer())
        lines.finish()
    except (KeyboardInterrupt, DataError) as error:
        lines.finish()
        if save is not None and lines.after and getattr(error, "exit_code", None) != ExitCode.INVALID_RESOURCE:
            save()
            note(f"{lines.count} documents are in {part}. The same command goes on there.")
        raise
    part.replace(file)
    porting_state.forget(state_file)
    note(f"{lines.count} documents of {collection} at revision {lines.revision} in {file}")


@dataclass
class _Lines:
    """Where lines go, and what has gone there."""

    write: Callable[[bytes], Any]
    kind: str
    file: IO[bytes] | None = None
    count: int = 0
    size: int = 0
    after: str = ""
    revision: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    quoted: bool = False
    """Whether a record of CSV goes on in the next line."""

    def add(self, line: bytes) -> None:
        """Write a line: a document, or of CSV the header or a part of a record."""
        if self.kind == "ndjson":
            self.count += 1
            self.after = msgspec.json.decode(line, type=_Row).id
        else:
            if not self.quoted and self.size:
                self.count += 1
            self.quoted ^= line.count(b'"') % 2 == 1
        self.digest.update(line)
        self.digest.update(b"\n")
        self.write(line + b"\n")
        self.size += len(line) + 1

    def trailer(self) -> bytes:
        """Return the last line, which proves that the lines before it are all."""
        found = {"count": self.count, "sha256": self.digest.hexdigest(), "revision": self.revision}
        return compact({"_trailer": found}).encode() + b"\n"

    def finish(self) -> None:
        """Hand over what was written, and close the file."""
        if self.file is not None and not self.file.closed:
            self.file.flush()
            self.file.close()


def _continued(part: Path, earlier: ExportState | None, kind: str) -> _Lines:
    """Return the lines of an earlier run to be gone on with, or none in a new file. Raises StateInvalid."""
    if earlier is None or kind != "ndjson":
        new = part.open("wb")
        return _Lines(new.write, kind, new)
    file = part.open("r+b")
    lines = _Lines(file.write, kind, file, earlier.count, earlier.bytes, earlier.after, earlier.revision)
    left = earlier.bytes
    while left:
        chunk = file.read(min(left, 1 << 20))
        if not chunk:
            file.close()
            raise StateInvalid(f"{part} is shorter than it was; begin anew: --restart")
        lines.digest.update(chunk)
        left -= len(chunk)
    # What was written behind the last saved state comes again.
    file.truncate()
    note(f"Going on with {part} behind {earlier.count} documents.")
    return lines


def _saver(path: Path, place: str, collection: str, options: dict[str, str], lines: _Lines) -> Callable[[], None]:
    def save() -> None:
        if lines.file is not None and not lines.file.closed:
            lines.file.flush()
        porting_state.write(
            path,
            ExportState(place, collection, options, lines.revision, lines.after, lines.count, lines.size),
        )

    return save


async def _run(
    store: Store,
    collection: str,
    body: dict[str, Any],
    at_revision: int | None,
    lines: _Lines,
    save: Callable[[], None] | None,
    *,
    quiet: bool,
) -> None:
    if lines.revision:
        at_revision = lines.revision
    failures = 0
    total = None if quiet else await store.count(collection, body.get("filter") or {})
    # To stdout only where a person sees it nowhere else: the bar is on stderr.
    with Bar(f"exporting {collection}", total=total, unit="documents") as bar:
        while True:
            reached = lines.count
            try:
                await _once(store, collection, body, at_revision, lines, save, bar)
                return
            except CollectionStoreError as error:
                failures = 1 if lines.count > reached else failures + 1
                if lines.kind != "ndjson" and lines.size:
                    raise
                if not error.retryable or failures > TRIES_MAX:
                    raise
                bar.say(f"{printable(str(error))[:200]}; going on behind {lines.count} documents")
                at_revision = lines.revision or at_revision
            await asyncio.sleep(min(PAUSE_MAX_S, PAUSE_S * failures))


async def _once(
    store: Store,
    collection: str,
    body: dict[str, Any],
    at_revision: int | None,
    lines: _Lines,
    save: Callable[[], None] | None,
    bar: Bar,
) -> None:
    asked = {**body, **({"after": lines.after} if lines.after else {})}
    request = json_body("POST", f"/collections/{segment(collection)}:export", asked)
    request.timed = False
    if at_revision is not None:
        request.parameters["at_revision"] = str(at_revision)
    feed, part, before = await store.lines(request), hashlib.sha256(), lines.count
    complete = lines.kind == "csv"
    try:
        while (line := await feed.next()) is not None:
            lines.revision = feed.revision
            if lines.kind == "ndjson" and line.startswith(TRAILER):
                _check(line, lines.count - before, part.hexdigest())
                complete = True
                continue
            part.update(line)
            part.update(b"\n")
            lines.add(line)
            if save is not None and lines.count % SAVED_LINES == 0:
                save()
            if lines.count % 500 == 0:
                bar.at(lines.count)
        lines.revision = feed.revision
    finally:
        await feed.close()
    if not complete:
        raise CollectionStoreError("the answer ended without the trailer of a complete export", retryable=True)


def _check(line: bytes, count: int, digest: str) -> None:
    found = msgspec.json.decode(line)["_trailer"]
    if (found["count"], found["sha256"]) != (count, digest):
        raise TrailerWrong(f"the export is damaged: its trailer counts {found['count']} documents, {count} came")
