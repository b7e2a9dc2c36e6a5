"""csctl import: a file into a collection, with progress; interrupted, it goes on where it was when it is run again."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.data import porting_state
from collectionstore.data.completion import complete_collection
from collectionstore.data.import_run import TYPES, Import, open_input
from collectionstore.data.options import DataCommand, connection_options
from collectionstore.data.output import Output, note, output_options
from collectionstore.data.porting_state import ImportState, Source, StateInvalid
from collectionstore.data.problems import DataError, PartlyDone
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store

SHOWN_ERRORS: Final = 20


@click.command("import", cls=DataCommand, short_help="Import documents from NDJSON or CSV.")
@click.argument("collection", shell_complete=complete_collection)
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), default="-")
@click.option(
    "--format", "kind", type=click.Choice(list(TYPES)), help="[default: by the name of the file, else ndjson]"
)
@click.option(
    "--mode",
    type=click.Choice(["insert", "skip", "upsert", "replace"]),
    default="insert",
    show_default=True,
    help="What becomes of documents that exist: fail, stay, are replaced; replace takes no new ones.",
)
@click.option("--types", metavar="TYPES", help="How cells of CSV are read: zip:string,age:number.")
@click.option(
    "--max-errors", type=click.IntRange(0, 1_000), default=100, show_default=True, help="Lines that may fail."
)
@click.option("--trailer", is_flag=True, help="Refuse an input without the trailer of a complete export.")
@click.option("--create", is_flag=True, help="Create the collection if there is none.")
@click.option("--restart", is_flag=True, help="Begin anew, and forget how far an earlier run has got.")
@click.option("--dry-run", is_flag=True, help="Read the input and check its lines here; send nothing.")
@output_options
@connection_options
def import_command(
    collection: str,
    file: Path,
    kind: str | None,
    mode: str,
    types: str | None,
    max_errors: int,
    session: Session,
    out: Output,
    *,
    trailer: bool,
    create: bool,
    restart: bool,
    dry_run: bool,
) -> None:
    """Import documents from FILE or stdin, one JSON document or CSV record a line; .gz files are unpacked.

    Interrupted, by Ctrl-C, a lost connection or a killed terminal, the same command goes on where it was: what was
    applied is not applied again. For stdin there is no such memory. Exit code 16 if lines failed.

    \b
    Examples:
      csctl import books books.ndjson
      csctl import books books.csv --mode upsert --types zip:string
      csctl export books | csctl import books --context other --create
    """
    standard = str(file) == "-"
    kind = kind or _kind(file)
    if types and kind != "csv":
        raise click.UsageError("--types is for CSV")
    if dry_run:
        _try(file, kind, collection, out)
        return
    options = {"mode": mode, "format": kind, "types": types or "", "trailer": str(trailer)}
    state_file = None if standard else porting_state.import_path(str(file.absolute()), _place(session), collection)
    state = _begin(file, state_file, session, collection, options, restart=restart)
    runner = Import(collection, file, state, state_file, max_errors)

    async def work(store: Store) -> dict[str, Any]:
        if create:
            await store.send(json_body("PUT", f"/collections/{segment(collection)}", writes=True))
        return await runner.run(store)

    try:
        result = session.run(work, f"cannot import into {collection}")
    except KeyboardInterrupt:
        _say_how_to_go_on(state, state_file)
        raise
    except DataError as error:
        if state_file is not None and error.exit_code in (ExitCode.UNAVAILABLE, ExitCode.TIMED_OUT, ExitCode.UNKNOWN):
            _say_how_to_go_on(state, state_file)
        elif state_file is not None:
            porting_state.forget(state_file)
        raise
    if state_file is not None:
        porting_state.forget(state_file)
    _show(collection, result, out)


def _kind(file: Path) -> str:
    name = file.name.removesuffix(".gz")
    return "csv" if name.endswith(".csv") else "ndjson"


def _place(session: Session) -> str:
    return session.target.place


def _begin(
    file: Path,
    state_file: Path | None,
    session: Session,
    collection: str,
    options: dict[str, str],
    *,
    restart: bool,
) -> ImportState:
    """Return the state to begin with: that of an earlier run of the same import, or a new one. Raises StateInvalid."""
    if state_file is None:
        return ImportState(Source("-", 0, 0, ""), "", collection, options, porting_state.new_key())
    source = porting_state.describe(file)
    earlier = None if restart else porting_state.read_import(state_file)
    if earlier is None:
        state = ImportState(source, _place(session), collection, options, porting_state.new_key())
        porting_state.write(state_file, state)
        return state
    if earlier.source != source:
        raise StateInvalid(
            f"{file} is another file than the one whose import was interrupted after {earlier.lines} lines. "
            "To begin anew: --restart"
        )
    if earlier.options != options:
        raise StateInvalid(
            f"the import of {file} was interrupted after {earlier.lines} lines, with other options. Use the same, or "
            "begin anew: --restart"
        )
    note(f"Going on with the import of {file} at line {earlier.lines + 1}.")
    return earlier


def _say_how_to_go_on(state: ImportState, state_file: Path | None) -> None:
    if state_file is None:
        note(f"At least {state.lines} lines were applied. The input was stdin: there is no way to go on.")
    else:
        note(f"{state.lines} lines were applied. The same command goes on there.")


def _show(collection: str, result: dict[str, Any], out: Output) -> None:
    failed = int(result["failed"]) + int(result.get("failed_before", 0))
    if out.people:
        if result["errors"]:
            rows = [
                {"line": one.get("line"), "code": one.get("code"), "detail": one.get("detail")}
                for one in sorted(result["errors"], key=lambda one: int(one.get("line") or 0))[:SHOWN_ERRORS]
            ]
            out.rows(rows, titles={"line": "LINE", "code": "CODE", "detail": "WHAT IS WRONG"})
        parts = [f"{result[name]} {name}" for name in ("inserted", "replaced", "skipped") if result[name]]
        parts += [f"{failed} failed"] if failed else []
        out.result(result, f"{collection}: {result['lines']} lines, {', '.join(parts) or 'nothing to do'}")
    else:
        out.result(result, "")
    if failed:
        raise PartlyDone(f"{failed} of {result['lines']} lines were not imported")


def _try(file: Path, kind: str, collection: str, out: Output) -> None:
    """Read the input and count what is wrong with it, as far as that is known without the store."""
    lines = wrong = number = 0
    first = ""
    with open_input(file) as source:
        for number, line in enumerate(source, start=1):
            if not line.strip() or (kind == "csv" and number == 1):
                continue
            if kind == "ndjson":
                reason = _mistake(line)
                if reason == "trailer":
                    continue
                if reason:
                    wrong += 1
                    first = first or f"line {number}: {reason}"
            lines += 1
    counted = {"lines": lines, "wrong": wrong}
    out.result(counted, f"{lines} {'records' if kind == 'csv' else 'documents'} for {collection}. Nothing was sent.")
    if wrong:
        raise PartlyDone(f"{wrong} of {lines} lines are no documents; the first, {first}")


def _mistake(line: bytes) -> str:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        return str(error)
    if not isinstance(found, dict):
        return "it is no object"
    if "_trailer" in found:
        return "trailer"
    if not isinstance(found.get("_id", ""), str):
        return "_id is no text"
    odd = next((name for name in found if name.startswith("_") and name not in ("_id", "_revision")), None)
    return f"{odd[:40]} begins with an underscore" if odd else ""
