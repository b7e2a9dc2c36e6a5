"""csctl index: list, create, get, drop; with the progress of a build."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import click

from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Group
from collectionstore.cli.exit_codes import CommandError
from collectionstore.data import arguments
from collectionstore.data.completion import complete_collection, complete_index
from collectionstore.data.options import DataCommand, connection_options, dry_run_option, expanded, yes_option
from collectionstore.data.output import Output, output_options
from collectionstore.data.progress import Bar
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.render.json_text import compact

POLL_S: Final = 0.2
TITLES: Final = {
    "name": "NAME",
    "fields": "FIELDS",
    "state": "STATE",
    "kind": "KIND",
    "entries": "ENTRIES",
    "documents": "DOCUMENTS",
    "progress": "PROGRESS",
}
collection_argument = click.argument("collection", shell_complete=complete_collection)


class BuildFailed(CommandError):
    """The index could not be built; the text says on account of which documents."""


@click.group("index", cls=Group, short_help="List, create and drop indexes.")
def index_group() -> None:
    """List, create and drop indexes.

    \b
    Examples:
      csctl index create books by_year year -title
      csctl index create users by_email email --unique --fold email
      csctl index list books
    """


@index_group.command("list", cls=DataCommand)
@collection_argument
@output_options
@connection_options
def list_indexes(collection: str, session: Session, out: Output) -> None:
    """List the indexes of a collection, with their state and size."""
    found = session.run(
        lambda store: store.get(f"/collections/{segment(collection)}/indexes"), f"cannot list indexes of {collection}"
    )["indexes"]
    if not out.people:
        out.rows(found)
        return
    out.rows([_row(one) for one in found], titles=TITLES, empty=f"{collection} has no index.")


@index_group.command("create", cls=DataCommand)
@collection_argument
@click.argument("name")
@click.argument("fields", nargs=-1, required=True, metavar="FIELD...")
@click.option("--unique", is_flag=True, help="No two documents have the same values in the fields.")
@click.option("--sparse", is_flag=True, help="Leave out documents without any of the fields.")
@click.option("--fold", multiple=True, metavar="FIELD", help="Compare its texts without regard to case.")
@click.option("-w", "--where", multiple=True, metavar="FILTER", help="Only documents that match: a partial index.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it is built, and show how far.")
@output_options
@connection_options
def create(
    collection: str,
    name: str,
    fields: tuple[str, ...],
    fold: tuple[str, ...],
    where: tuple[str, ...],
    session: Session,
    out: Output,
    *,
    unique: bool,
    sparse: bool,
    wait: bool,
) -> None:
    """Create an index. FIELD is a path, descending as year:-1; the most important first."""
    body: dict[str, Any] = {"name": name, "fields": arguments.fields_of(fields)}
    if unique:
        body["unique"] = True
    if sparse:
        body["sparse"] = True
    if fold:
        body["fold"] = list(fold)
    if where:
        body["filter"] = arguments.filter_of(expanded(where))
    path = f"/collections/{segment(collection)}/indexes"

    async def work(store: Store) -> dict[str, Any]:
        made: dict[str, Any] = await store.post(path, body)
        if not wait:
            return made
        total = await store.count(collection, {})
        with Bar(f"building {name}", total=total, unit="documents") as bar:
            while made["state"] == "building":
                bar.at(int((made.get("progress") or {}).get("documents", 0)))
                await asyncio.sleep(POLL_S)
                made = await store.get(f"{path}/{segment(name)}")
            bar.at(total)
        return made

    made = session.run(work, f"cannot create the index {name} of {collection}")
    if made["state"] == "failed":
        failure = made.get("failure") or {}
        ids = ", ".join(str(one) for one in failure.get("ids", ()))
        raise BuildFailed(
            f"the index {name} cannot be built: {failure.get('reason', '')} {ids}\n"
            f"It is of no use now; drop it: csctl index drop {collection} {name}"
        )
    state = "is ready" if made["state"] == "ready" else "is being built"
    out.result(made, f"index {name} of {collection} {state}")


@index_group.command("get", cls=DataCommand)
@collection_argument
@click.argument("name", shell_complete=complete_index)
@output_options
@connection_options
def get(collection: str, name: str, session: Session, out: Output) -> None:
    """Show an index with its progress and size."""
    found = session.run(
        lambda store: store.get(f"/collections/{segment(collection)}/indexes/{segment(name)}"),
        f"cannot read the index {name} of {collection}",
    )
    out.document(compact(found))


@index_group.command("drop", cls=DataCommand)
@collection_argument
@click.argument("name", shell_complete=complete_index)
@dry_run_option
@yes_option
@output_options
@connection_options
def drop(collection: str, name: str, session: Session, out: Output, *, dry_run: bool, yes: bool) -> None:
    """Drop an index. Queries that used it read more from then on; you are asked first."""
    path = f"/collections/{segment(collection)}/indexes/{segment(name)}"
    if dry_run:
        session.run(lambda store: store.get(path), f"cannot read the index {name} of {collection}")
        out.result({"name": name}, f"index {name} of {collection} would be dropped. Nothing was changed.")
        return
    confirm(f"Drop the index {name} of {collection}?", yes=yes)
    answer = session.run(lambda store: store.ask(json_body("DELETE", path, writes=True)), f"cannot drop {name}")
    out.result(answer, f"index {name} of {collection} dropped")


def _row(one: dict[str, Any]) -> dict[str, Any]:
    fields = ", ".join(f"-{path}" if direction == -1 else path for path, direction in one["fields"].items())
    kinds = [name for name in ("unique", "sparse") if one.get(name)] + (["partial"] if one.get("filter") else [])
    row = {"name": one["name"], "fields": fields, "kind": " ".join(kinds), "state": one["state"]}
    if one["state"] == "building":
        row["progress"] = f"{(one.get('progress') or {}).get('documents', 0)} documents"
    return row | {key: one[key] for key in ("entries", "documents") if key in one}
