"""csctl schema: get, set, clear, validate."""

from __future__ import annotations

from typing import Any

import click

from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Group
from collectionstore.data import arguments
from collectionstore.data.completion import complete_collection
from collectionstore.data.options import DataCommand, connection_options, dry_run_option, expanded, yes_option
from collectionstore.data.output import Output, note, output_options
from collectionstore.data.problems import PartlyDone
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.render.json_text import compact

collection_argument = click.argument("collection", shell_complete=complete_collection)


@click.group("schema", cls=Group, short_help="Show, set and try the schema of a collection.")
def schema_group() -> None:
    """Show, set and try the schema of a collection: JSON Schema 2020-12.

    \b
    Examples:
      csctl schema set books '{"required": ["title"], "properties": {"title": {"type": "string"}}}' --mode warn
      csctl schema validate books
      csctl schema validate books @next.json      a schema to try, before it is set
    """


@schema_group.command("get", cls=DataCommand)
@collection_argument
@output_options
@connection_options
def get(collection: str, session: Session, out: Output) -> None:
    """Show the schema of a collection, with its mode."""
    found = session.run(
        lambda store: store.get(f"/collections/{segment(collection)}"), f"cannot read the collection {collection}"
    )
    schema = (found.get("options") or {}).get("schema")
    if schema is None and out.people:
        note(f"{collection} has no schema.")
        return
    out.document(compact(schema))


@schema_group.command("set", cls=DataCommand)
@collection_argument
@click.argument("schema")
@click.option("--mode", type=click.Choice(["strict", "warn", "off"]), default="strict", show_default=True)
@click.option("--defaults", is_flag=True, help="Fill in members that are missing and have a default.")
@click.option("--dry-run", is_flag=True, help="Check the documents that are there, and change nothing.")
@output_options
@connection_options
def set_schema(
    collection: str, schema: str, mode: str, session: Session, out: Output, *, defaults: bool, dry_run: bool
) -> None:
    """Set the schema of a collection: JSON, @FILE, or - for stdin. Documents that are there stay as they are."""
    document = arguments.json_of(expanded([schema])[0], "the schema")
    if dry_run:
        _validate(collection, document, session, out, show=20)
        return
    body = {"schema": {"document": document, "mode": mode, "defaults": defaults}}
    request = json_body("PATCH", f"/collections/{segment(collection)}", body, writes=True)
    request.headers["Content-Type"] = "application/merge-patch+json"
    answer = session.run(lambda store: store.ask(request), f"cannot set the schema of {collection}")
    out.result(answer, f"schema of {collection} set, mode {mode}")


@schema_group.command("clear", cls=DataCommand)
@collection_argument
@dry_run_option
@yes_option
@output_options
@connection_options
def clear(collection: str, session: Session, out: Output, *, dry_run: bool, yes: bool) -> None:
    """Take the schema off a collection. You are asked first."""
    if dry_run:
        out.result({"name": collection}, f"the schema of {collection} would be removed. Nothing was changed.")
        return
    confirm(f"Remove the schema of {collection}?", yes=yes)
    request = json_body("PATCH", f"/collections/{segment(collection)}", {"schema": None}, writes=True)
    request.headers["Content-Type"] = "application/merge-patch+json"
    answer = session.run(lambda store: store.ask(request), f"cannot change {collection}")
    out.result(answer, f"schema of {collection} removed")


@schema_group.command("validate", cls=DataCommand)
@collection_argument
@click.argument("schema", required=False)
@click.option("--show", type=click.IntRange(0, 100), default=20, show_default=True, help="Of how many to say why.")
@output_options
@connection_options
def validate(collection: str, schema: str | None, show: int, session: Session, out: Output) -> None:
    """Check all documents against the schema of the collection, or another one. Exit code 16 if some do not fit."""
    document = arguments.json_of(expanded([schema])[0], "the schema") if schema is not None else None
    _validate(collection, document, session, out, show=show)


def _validate(collection: str, document: dict[str, Any] | None, session: Session, out: Output, *, show: int) -> None:
    found: list[dict[str, Any]] = []
    counts = {"checked": 0, "invalid": 0}

    async def work(store: Store) -> None:
        after: str | None = None
        while True:
            body: dict[str, Any] = {"show": max(0, show - len(found)), "limit": 100_000}
            if document is not None:
                body["schema"] = {"document": document}
            if after is not None:
                body["after"] = after
            page = await store.post(f"/collections/{segment(collection)}:validate", body, writes=False)
            counts["checked"] += int(page["checked"])
            counts["invalid"] += int(page["invalid"])
            found.extend(page["documents"])
            after = page["next_after"]
            if after is None:
                return

    session.run(work, f"cannot validate {collection}")
    if out.people:
        rows = [
            {"_id": one["id"], "pointer": error["pointer"] or "/", "what": error["detail"]}
            for one in found
            for error in one["errors"]
        ]
        out.rows(rows, titles={"_id": "ID", "pointer": "AT", "what": "WHAT IS WRONG"})
        note(f"{counts['checked']} documents checked, {counts['invalid']} do not fit.")
    else:
        out.document(compact({**counts, "documents": found}))
    if counts["invalid"]:
        raise PartlyDone(f"{counts['invalid']} of {counts['checked']} documents of {collection} do not fit the schema")
