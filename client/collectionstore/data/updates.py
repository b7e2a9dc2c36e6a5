"""update: changes of documents where they are, one by its ID or all that match."""

from __future__ import annotations

from typing import Any, Final

import click

from collectionstore.cli.asking import confirm
from collectionstore.data import arguments, requests
from collectionstore.data.completion import complete_collection
from collectionstore.data.options import (
    DataCommand,
    connection_options,
    dry_run_option,
    expanded,
    ttl_option,
    yes_option,
)
from collectionstore.data.output import Output, output_options
from collectionstore.data.problems import tell_many
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.render.json_text import compact

FORMS: Final = {
    "update": "application/json",
    "merge_patch": "application/merge-patch+json",
    "json_patch": "application/json-patch+json",
}


@click.command("update", cls=DataCommand, short_help="Change documents where they are.")
@click.argument("collection", shell_complete=complete_collection)
@click.argument("words", nargs=-1, metavar="[ID] CHANGE...")
@click.option("-w", "--where", "where", multiple=True, metavar="FILTER", help="Change what matches; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Change all documents.")
@click.option("--one", is_flag=True, help="With --where: only the first match.")
@click.option("--when", multiple=True, metavar="FILTER", help="With ID: only if the document matches.")
@click.option("--upsert", is_flag=True, help="Create the document if there is none.")
@click.option("--if-revision", type=click.IntRange(min=1), metavar="N", help="With ID: only if it is of this revision.")
@click.option("--merge", metavar="JSON", help="A merge patch (RFC 7396) in place of CHANGE.")
@click.option("--patch", metavar="JSON", help="A JSON Patch (RFC 6902) in place of CHANGE.")
@ttl_option
@dry_run_option
@yes_option
@output_options
@connection_options
def update(
    collection: str,
    words: tuple[str, ...],
    where: tuple[str, ...],
    when: tuple[str, ...],
    if_revision: int | None,
    merge: str | None,
    patch: str | None,
    ttl: str | None,
    session: Session,
    out: Output,
    *,
    everything: bool,
    one: bool,
    upsert: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Change documents where they are: the one with this ID, or those that match.

    CHANGE is path=value, path+=number, path-=number, path[]=value (append), path- (remove), or JSON operators; @FILE
    and - as with csctl put. Documents that match are counted, and you are asked before all of them are changed.

    \b
    Examples:
      csctl update books dune copies+=1 'tags[]=new'
      csctl update books dune '{"$max": {"copies": 5}}' --upsert
      csctl update books --where 'year<1950' classic=true
      csctl update books dune copies-=1 --when 'copies>0'
    """
    found = bool(where) or everything
    if where and everything:
        raise click.UsageError("--where excludes --all")
    if merge and patch:
        raise click.UsageError("--merge excludes --patch")
    changes = list(words)
    document_id = ""
    if not found:
        if not changes:
            raise click.UsageError("name a document by its ID, or by --where FILTER, or --all")
        document_id = changes.pop(0)
    kind, change = _change(changes, merge, patch)
    if found:
        if when or if_revision is not None or ttl:
            raise click.UsageError("--when, --if-revision and --ttl go with an ID")
        if upsert and not one:
            raise click.UsageError("--upsert with --where needs --one")
        chosen = arguments.filter_of(expanded(where))
        body: dict[str, Any] = {"filter": chosen, kind: change, **({"upsert": True} if upsert else {})}
        _update_found(collection, body, session, out, one=one, dry_run=dry_run, yes=yes)
        return
    if one:
        raise click.UsageError("--one goes with --where or --all")
    request = requests.update_document(
        collection,
        document_id,
        compact(change).encode(),
        form=FORMS[kind],
        when=arguments.filter_of(expanded(when)) if when else None,
        upsert=upsert,
        if_revision=if_revision,
        ttl=ttl,
    )
    name = f"{collection}/{document_id}"
    if dry_run:
        session.run(lambda store: store.document(collection, document_id), f"cannot read {name}")
        out.result({"_id": document_id, "modified": False}, f"{name} would be updated. Nothing was changed.")
        return
    answer = session.run(lambda store: store.ask(request), f"cannot update {name}")
    verb = "updated" if answer["modified"] else "is as it was, at revision"
    document = answer.get("document") or {}
    result = {"_id": document_id, "_revision": answer["revision"], **document}
    out.result(result, f"{name} {verb}{' at revision' if answer['modified'] else ''} {answer['revision']}")


def _change(changes: list[str], merge: str | None, patch: str | None) -> tuple[str, Any]:
    """Return the kind of a change, a member of the body of requests, and the change."""
    if merge is None and patch is None:
        return "update", arguments.update_of(expanded(changes))
    if changes:
        raise click.UsageError("--merge and --patch are in place of CHANGE")
    if merge is not None:
        return "merge_patch", arguments.json_of(expanded([merge])[0], "the merge patch")
    return "json_patch", arguments.json_of(expanded([patch or ""])[0], "the JSON Patch", list)


def _update_found(
    collection: str, body: dict[str, Any], session: Session, out: Output, *, one: bool, dry_run: bool, yes: bool
) -> None:
    count = session.run(lambda store: store.count(collection, body["filter"]), f"cannot count in {collection}")
    count = min(count, 1) if one else count
    what = f"{count} {'document' if count == 1 else 'documents'} of {collection}"
    if dry_run:
        out.result({"matched": count, "modified": 0}, f"{what} would be updated. Nothing was changed.")
        return
    if count and not one:
        confirm(f"Update {what}?", yes=yes)
    progress = {"matched": 0, "modified": 0, "skipped": 0}

    async def work(store: Store) -> None:
        if one:
            answer = await store.post(f"/collections/{requests.segment(collection)}:update", body)
            progress.update({name: int(answer[name]) for name in ("matched", "modified")})
            if answer["upserted_id"] is not None:
                progress["inserted"] = 1
            return
        async for part in store.many(collection, "update", {**body, "many": True}):
            for name in progress:
                progress[name] += int(part[name])

    tell_many(lambda: session.run(work, f"cannot update {collection}"), progress)
    modified = progress["modified"]
    text = f"{modified} of {progress['matched']} {'document' if progress['matched'] == 1 else 'documents'} updated"
    if progress.get("inserted"):
        text = "1 document inserted"
    skipped = f", {progress['skipped']} left alone, since others changed them" if progress["skipped"] else ""
    out.result(progress, f"{collection}: {text}{skipped}")
