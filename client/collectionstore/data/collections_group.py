"""csctl collection: list, create, get, drop."""

from __future__ import annotations

from typing import Any

import click

from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Group
from collectionstore.data.completion import complete_collection
from collectionstore.data.options import DataCommand, connection_options, dry_run_option, yes_option
from collectionstore.data.output import Output, output_options
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.render.json_text import compact

collection_argument = click.argument("collection", shell_complete=complete_collection)


@click.group("collection", cls=Group, short_help="List, create and drop collections.")
def collection_group() -> None:
    """List, create and drop collections.

    \b
    Examples:
      csctl collection list --counts
      csctl collection create books
      csctl collection drop books
    """


@collection_group.command("list", cls=DataCommand)
@click.argument("prefix", default="")
@click.option("--counts", is_flag=True, help="Count the documents of each, which takes longer.")
@output_options
@connection_options
def list_collections(prefix: str, session: Session, out: Output, *, counts: bool) -> None:
    """List the collections, those that begin with PREFIX."""

    async def work(store: Store) -> list[dict[str, Any]]:
        found = await store.pages("/collections", "collections", prefix=prefix)
        if counts:
            for one in found:
                one["documents"] = await store.count(one["name"], {})
        return found

    found = session.run(work, "cannot list the collections")
    titles = {"name": "NAME", "revision": "CREATED AT", "documents": "DOCUMENTS"}
    out.rows(found, titles=titles, empty="There is no collection. Create one: csctl collection create NAME")


@collection_group.command("create", cls=DataCommand)
@click.argument("collection")
@click.option("--ids", type=click.Choice(["uuid7", "client", "sequence"]), help="Who makes the IDs of documents.")
@click.option("--ttl", metavar="TIME", help="How long a document is there behind its last write: 30m.")
@click.option("--if-absent", is_flag=True, help="That it exists is no error.")
@output_options
@connection_options
def create(
    collection: str, ids: str | None, ttl: str | None, session: Session, out: Output, *, if_absent: bool
) -> None:
    """Create a collection. Its schema: csctl schema set."""
    options: dict[str, Any] = {name: value for name, value in (("ids", ids), ("ttl", ttl)) if value is not None}
    if if_absent or options:
        request = json_body("PUT", f"/collections/{segment(collection)}", options or None, writes=True)
    else:
        request = json_body("POST", "/collections", {"name": collection}, writes=True)
    answer = session.run(lambda store: store.send(request), f"cannot create the collection {collection}")
    created = answer.status == 201
    out.result(
        {"name": collection, "created": created},
        f"collection {collection} created" if created else f"collection {collection} exists already",
    )


@collection_group.command("get", cls=DataCommand)
@collection_argument
@output_options
@connection_options
def get(collection: str, session: Session, out: Output) -> None:
    """Show a collection with its options."""
    found = session.run(
        lambda store: store.get(f"/collections/{segment(collection)}"), f"cannot read the collection {collection}"
    )
    out.document(compact(found))


@collection_group.command("drop", cls=DataCommand)
@collection_argument
@dry_run_option
@yes_option
@output_options
@connection_options
def drop(collection: str, session: Session, out: Output, *, dry_run: bool, yes: bool) -> None:
    """Drop a collection with all its documents and indexes. You are asked first."""
    count = session.run(lambda store: store.count(collection, {}), f"cannot count in {collection}")
    what = f"{collection} with {count} {'document' if count == 1 else 'documents'}"
    if dry_run:
        out.result({"name": collection, "documents": count}, f"{what} would be dropped. Nothing was changed.")
        return
    confirm(f"Drop the collection {what}?", yes=yes)
    request = json_body("DELETE", f"/collections/{segment(collection)}", writes=True)
    answer = session.run(lambda store: store.ask(request), f"cannot drop the collection {collection}")
    out.result(answer, f"collection {what} dropped")
