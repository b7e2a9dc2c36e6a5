"""csctl watch: changes as they are made, over reconnects, until Ctrl-C."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any, Final

import click
import msgspec
from rich.cells import cell_len, set_cell_size

from collectionstore.cli import streams
from collectionstore.data import arguments
from collectionstore.data.completion import complete_collection
from collectionstore.data.options import DataCommand, connection_options, expanded
from collectionstore.data.output import Output, note, output_options
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.render.json_text import compact, printable
from collectionstore.runtime.watching import WatchItem

OPERATIONS: Final = (
    "insert",
    "replace",
    "update",
    "delete",
    "expire",
    "create_collection",
    "drop_collection",
    "create_index",
    "drop_index",
    "configure_collection",
)
COLORS: Final = {"insert": "green", "replace": "yellow", "update": "yellow", "delete": "red", "expire": "red"}


@click.command("watch", cls=DataCommand, short_help="Show changes as they are made.")
@click.argument("collection", required=False, shell_complete=complete_collection)
@click.argument("filters", nargs=-1, metavar="[FILTER]...")
@click.option("--bucket", metavar="NAME", help="The values of a bucket, in place of a collection.")
@click.option(
    "--from", "start", default="now", metavar="PLACE", help="now, snapshot, a revision, or a token. [default: now]"
)
@click.option("--ops", metavar="NAMES", help=f"Only these: {', '.join(OPERATIONS[:5])} ...")
@click.option("-f", "--fields", metavar="FIELDS", help="Show these fields of documents, or all but these (-notes).")
@click.option("--before", is_flag=True, help="Show documents as they were before, too.")
@click.option("-c", "--count", "most", type=click.IntRange(min=1), metavar="N", help="End after N changes.")
@click.option("--no-wait", is_flag=True, help="Show what there is from the place on, and end.")
@output_options
@connection_options
def watch(
    collection: str | None,
    filters: tuple[str, ...],
    bucket: str | None,
    start: str,
    ops: str | None,
    fields: str | None,
    most: int | None,
    session: Session,
    out: Output,
    *,
    before: bool,
    no_wait: bool,
) -> None:
    """Show changes of a collection as they are made, of everything without COLLECTION; until Ctrl-C.

    A watch that loses its member goes on with another one, where it was: no change is left out or shown twice.
    -o ndjson shows whole events with their tokens; --from TOKEN goes on behind one.

    \b
    Examples:
      csctl watch books
      csctl watch books 'year>=1950' --ops insert,delete
      csctl watch --from 0 --no-wait             what has happened so far
    """
    if out.format in ("csv", "yaml"):
        raise click.UsageError("watch shows -o table, ndjson or json, which is the same here")
    if bucket is not None and collection is not None:
        raise click.UsageError("--bucket is in place of COLLECTION")
    body: dict[str, Any] = {"from": int(start) if start.isascii() and start.isdigit() and len(start) < 17 else start}
    if filters:
        body["filter"] = arguments.filter_of(expanded(filters))
    if ops:
        body["ops"] = arguments.names_of(ops, "the operations")
    if fields:
        body["fields"] = arguments.projection_of(fields)
    if before:
        body["before"] = True
    target = {"collection": collection} if collection else {"bucket": bucket} if bucket else {}
    path = f"/collections/{segment(collection)}" if collection else f"/kv/{segment(bucket)}" if bucket else "/"
    what = f"cannot watch {collection or bucket or 'the store'}"
    shown = 0

    async def work(store: Store) -> None:
        nonlocal shown
        events = _page(store, path, body) if no_wait else _events(store, {**body, **target})
        async for text, event in events:
            if event["event"] in ("change", "document"):
                _show(text, event, out)
                shown += 1
            elif event["event"] == "ready" and out.people:
                note(f"These {shown} are there already; changes follow.")
            if shown == most:
                return

    try:
        session.run(work, what)
    except KeyboardInterrupt:
        # The usual end of a watch.
        streams.flush()


async def _page(store: Store, path: str, body: dict[str, Any]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield what there is, page by page, until there is nothing more."""
    place = body
    while True:
        request = json_body("POST", f"{path}:watch", place, long=True)
        request.parameters["wait"] = "0s"
        answer = await store.send(request)
        page = msgspec.json.decode(answer.body or b"{}", type=dict[str, msgspec.Raw])
        events = msgspec.json.decode(page["events"], type=list[msgspec.Raw])
        for raw in events:
            yield bytes(raw).decode(), msgspec.json.decode(raw)
        if not events:
            return
        place = {**body, "from": msgspec.json.decode(page["token"])}


async def _events(store: Store, body: dict[str, Any]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yield events; the client opens the watch again where it ended for a reason of the network or of a member."""
    feed = await store.watch(body)
    try:
        while (item := await feed.next()) is not None:
            if item.event == "resync":
                note("The connection was lost while the documents that are there were told: they come again.")
                continue
            event = _event(item)
            yield compact(event), event
            if item.event == "invalidate":
                note("The collection was dropped; the watch has ended.")
    finally:
        await feed.close()


def _event(item: WatchItem) -> dict[str, Any]:
    """Return an event as the API tells it: without what it does not have."""
    event: dict[str, Any] = {}
    for name in item.__struct_fields__:
        value = getattr(item, name)
        if name in ("document", "before"):
            if bytes(value):
                event[name] = msgspec.json.decode(value)
        elif value is not None and value != "" and value is not False and not (name == "kept_after" and not value):
            event[name] = value
    return event


def _show(text: str, event: dict[str, Any], out: Output) -> None:
    if not out.people:
        streams.write(text + "\n")
        streams.flush()
        return
    operation = str(event.get("op", "document"))
    target = "/".join(str(event[key]) for key in ("collection", "bucket", "id", "key", "index") if key in event)
    rest = ""
    for key in ("before", "document"):
        if key in event:
            rest += f"  {'was ' if key == 'before' else ''}{compact(event[key])}"
    if "value" in event and "document" not in event:
        rest += f"  {event.get('content_type', '')}"
    if event.get("left"):
        rest += "  (does not match any more)"
    line = f"{event.get('revision', ''):>8}  {operation:<10}  {target}{rest}"
    line = _cut(printable(line), streams.width(sys.stdout))
    if streams.colored(sys.stdout) and operation in COLORS:
        line = line.replace(operation, click.style(operation, fg=COLORS[operation]), 1)
    streams.write(line + "\n")
    streams.flush()


def _cut(line: str, width: int | None) -> str:
    if width is None or cell_len(line) <= width:
        return line
    return set_cell_size(line, width - 1) + "…"
