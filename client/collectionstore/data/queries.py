"""find, count, distinct, aggregate: reads by what is in documents."""

from __future__ import annotations

from typing import Any, Final

import click

from collectionstore.cli import streams
from collectionstore.data import arguments
from collectionstore.data.completion import complete_collection, complete_index
from collectionstore.data.options import DataCommand, connection_options, expanded
from collectionstore.data.output import Output, note, output_options
from collectionstore.data.requests import json_body, read_at, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.render.json_text import compact

LIMIT: Final = 100
"""Documents that a find shows unless it is told another number."""

collection_argument = click.argument("collection", shell_complete=complete_collection)
filter_argument = click.argument("filters", nargs=-1, metavar="[FILTER]...")
hint_option = click.option(
    "--hint", metavar="INDEX", shell_complete=complete_index, help="The index to use, or scan for none."
)
explain_option = click.option("--explain", is_flag=True, help="Show how it is found, and what that costs.")
stale_option = click.option("--stale", is_flag=True, help="From the nearest member, without asking a quorum.")
revision_option = click.option(
    "--at-revision", type=click.IntRange(min=0), metavar="N", help="Of the state at this revision."
)


@click.command("find", cls=DataCommand, short_help="Find documents by what is in them.")
@collection_argument
@filter_argument
@click.option("-s", "--sort", metavar="FIELDS", help="Order: -year,title.")
@click.option("-f", "--fields", metavar="FIELDS", help="Show these (title,year), or all but these (-notes).")
@click.option("-l", "--limit", type=click.IntRange(min=1), help=f"How many at most. [default: {LIMIT}]")
@click.option("--skip", type=click.IntRange(0, 10_000), default=0, help="Leave out the first ones.")
@click.option("--all", "everything", is_flag=True, help="Show all, however many there are.")
@click.option("--first", is_flag=True, help="Show the first one alone, whole.")
@hint_option
@explain_option
@revision_option
@stale_option
@output_options
@connection_options
def find(
    collection: str,
    filters: tuple[str, ...],
    sort: str | None,
    fields: str | None,
    limit: int | None,
    skip: int,
    hint: str | None,
    at_revision: int | None,
    session: Session,
    out: Output,
    *,
    everything: bool,
    first: bool,
    explain: bool,
    stale: bool,
) -> None:
    """Find documents. FILTER is a condition such as year>=1950, title~^D, tags=classic, or JSON; all must hold.

    The value of a condition is JSON if it reads as such: year=1965 is a number, zip='"1965"' a text.

    \b
    Examples:
      csctl find books
      csctl find books 'year>=1950' tags=classic --sort -year --fields title,year
      csctl find books '{"$or": [{"year": 1965}, {"copies": {"$gt": 5}}]}'
      csctl find books 'year<1900' --explain
    """
    if everything and limit is not None:
        raise click.UsageError("--all excludes --limit")
    if first and (everything or limit is not None):
        raise click.UsageError("--first excludes --all and --limit")
    body: dict[str, Any] = {"filter": arguments.filter_of(expanded(filters))}
    if sort:
        body["sort"] = arguments.sort_of(sort)
    if fields:
        body["projection"] = arguments.projection_of(fields)
    if hint:
        body["hint"] = hint
    if skip:
        body["skip"] = skip
    if explain:
        _explain(collection, "find", {**body, "limit": limit or LIMIT}, session, out, at_revision, stale=stale)
        return
    most = None if everything else 1 if first else limit or LIMIT
    shown = out.documents(hidden=("_revision",) if out.people else ())

    async def work(store: Store) -> bool:
        more = False
        async for text, rest in store.find(collection, body, limit=most, at_revision=at_revision, stale=stale):
            more = rest
            if first:
                out.document(text)
            else:
                shown.add(text)
        return more

    more = session.run(work, f"cannot find in {collection}")
    if first:
        return
    if not shown.count and out.people:
        note("No document matches." if filters else f"{collection} has no documents.")
        return
    shown.end()
    if more and limit is None:
        streams.flush()
        note(f"There are more: these are the first {most}. --limit N or --all shows more.")


@click.command("count", cls=DataCommand, short_help="Count documents.")
@collection_argument
@filter_argument
@hint_option
@explain_option
@revision_option
@stale_option
@output_options
@connection_options
def count(
    collection: str,
    filters: tuple[str, ...],
    hint: str | None,
    at_revision: int | None,
    session: Session,
    out: Output,
    *,
    explain: bool,
    stale: bool,
) -> None:
    """Count the documents that match; FILTER as with csctl find.

    \b
    Examples:
      csctl count books
      csctl count books 'year>=1950'
    """
    body: dict[str, Any] = {"filter": arguments.filter_of(expanded(filters))}
    if hint:
        body["hint"] = hint
    if explain:
        _explain(collection, "count", body, session, out, at_revision, stale=stale)
        return
    found = session.run(
        lambda store: _posted(store, collection, "count", body, at_revision, stale=stale),
        f"cannot count in {collection}",
    )
    out.result(found, str(found["count"]))


@click.command("distinct", cls=DataCommand, short_help="Show the different values of a field.")
@collection_argument
@click.argument("field")
@filter_argument
@hint_option
@revision_option
@stale_option
@output_options
@connection_options
def distinct(
    collection: str,
    field: str,
    filters: tuple[str, ...],
    hint: str | None,
    at_revision: int | None,
    session: Session,
    out: Output,
    *,
    stale: bool,
) -> None:
    """Show the different values of a field, in their order; of arrays those of their elements.

    \b
    Examples:
      csctl distinct books tags
      csctl distinct books author 'year>=1950'
    """
    body: dict[str, Any] = {"field": field, "filter": arguments.filter_of(expanded(filters))}
    if hint:
        body["hint"] = hint
    found = session.run(
        lambda store: _posted(store, collection, "distinct", body, at_revision, stale=stale),
        f"cannot read {collection}",
    )
    out.rows(({"value": one} for one in found["values"]), titles={"value": field}, empty="There is no value.")


@click.command("aggregate", cls=DataCommand, short_help="Compute, group and join documents by a pipeline.")
@collection_argument
@click.argument("stages", nargs=-1, required=True, metavar="STAGE...")
@explain_option
@revision_option
@stale_option
@output_options
@connection_options
def aggregate(
    collection: str,
    stages: tuple[str, ...],
    at_revision: int | None,
    session: Session,
    out: Output,
    *,
    explain: bool,
    stale: bool,
) -> None:
    """Run a pipeline: each STAGE an object of JSON, or all of them as one array, @FILE, or - for stdin.

    \b
    Examples:
      csctl aggregate books '{"$unwind": "$tags"}' '{"$sortByCount": "$tags"}'
      csctl aggregate orders @report.json -o csv
    """
    pipeline: list[Any] = []
    for text in expanded(stages):
        whole = text.lstrip().startswith("[")
        found = arguments.json_of(text, "the pipeline" if whole else "the stage", list if whole else dict)
        pipeline += found if whole else [found]
    body = {"pipeline": pipeline}
    if explain:
        _explain(collection, "aggregate", body, session, out, at_revision, stale=stale)
        return
    found = session.run(
        lambda store: _posted(store, collection, "aggregate", body, at_revision, stale=stale),
        f"cannot aggregate {collection}",
    )
    out.rows(found["documents"], empty="The pipeline makes no document.")


async def _posted(
    store: Store, collection: str, action: str, body: dict[str, Any], at_revision: int | None, *, stale: bool
) -> Any:
    request = json_body("POST", f"/collections/{segment(collection)}:{action}", body, long=True)
    read_at(request, at_revision=at_revision, stale=stale)
    return await store.ask(request)


def _explain(
    collection: str,
    action: str,
    body: dict[str, Any],
    session: Session,
    out: Output,
    at_revision: int | None,
    *,
    stale: bool,
) -> None:
    """Show the plan of a query, without what it finds."""
    found = session.run(
        lambda store: _posted(store, collection, action, {**body, "explain": True}, at_revision, stale=stale),
        f"cannot explain the query of {collection}",
    )
    plan = found.get("explain", found)
    if not out.people:
        out.document(compact(plan))
        return
    out.rows([{"what": name, "value": one} for name, one in _flat(plan)], titles={"what": "PLAN", "value": ""})


def _flat(plan: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in plan.items():
        if isinstance(value, dict):
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", value))
    return found
