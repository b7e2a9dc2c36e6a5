"""get, put, insert, delete: documents by their IDs."""

from __future__ import annotations

from typing import Any

import click

from collectionstore.cli.asking import confirm
from collectionstore.data import arguments, requests
from collectionstore.data.arguments import ArgumentInvalid
from collectionstore.data.completion import complete_collection, complete_id
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
from collectionstore.errors import NotFound

collection_argument = click.argument("collection", shell_complete=complete_collection)


@click.command("get", cls=DataCommand, short_help="Show documents by their IDs.")
@collection_argument
@click.argument("ids", nargs=-1, required=True, metavar="ID...", shell_complete=complete_id)
@click.option("--at-revision", type=click.IntRange(min=0), metavar="N", help="As it was at this revision.")
@click.option("--stale", is_flag=True, help="From the nearest member, without asking a quorum.")
@output_options
@connection_options
def get(
    collection: str, ids: tuple[str, ...], at_revision: int | None, session: Session, out: Output, *, stale: bool
) -> None:
    """Show documents by their IDs, with _id and _revision. What `get` shows, `put` takes.

    \b
    Examples:
      csctl get books dune
      csctl get books dune hobbit -o yaml
      csctl get books dune --at-revision 3
    """

    found = [
        session.run(
            lambda store, one=one: store.document(collection, one, at_revision=at_revision, stale=stale),  # type: ignore[misc]
            f"cannot read {collection}/{one}",
        )
        for one in dict.fromkeys(ids)
    ]
    if len(found) == 1:
        out.document(found[0])
        return
    shown = out.documents()
    for text in found:
        shown.add(text)
    shown.end()


@click.command("put", cls=DataCommand, short_help="Create or replace a document.")
@collection_argument
@click.argument("words", nargs=-1, required=True, metavar="[ID] DOCUMENT")
@click.option("--if-absent", is_flag=True, help="Only if there is none with this ID.")
@click.option("--if-present", is_flag=True, help="Only if there is one with this ID.")
@click.option("--if-revision", type=click.IntRange(min=1), metavar="N", help="Only if it is of this revision.")
@click.option("--if-unchanged", is_flag=True, help="Only if it is of the _revision in DOCUMENT.")
@ttl_option
@dry_run_option
@output_options
@connection_options
def put(
    collection: str,
    words: tuple[str, ...],
    if_revision: int | None,
    ttl: str | None,
    session: Session,
    out: Output,
    *,
    if_absent: bool,
    if_present: bool,
    if_unchanged: bool,
    dry_run: bool,
) -> None:
    """Create or replace a document. DOCUMENT is JSON, @FILE, - for stdin, or path=value for each value.

    Without ID it is the _id in DOCUMENT. A _revision in it is not written; with --if-unchanged it must still be the one
    of the document in the store.

    \b
    Examples:
      csctl put books dune title=Dune year=1965 'tags[]=desert'
      csctl put books dune '{"title": "Dune", "year": 1965}'
      csctl get books dune -o json > dune.json; vi dune.json; csctl put books @dune.json --if-unchanged
    """
    document_id, body, revision = _document(list(words))
    if sum((if_absent, if_present, if_revision is not None, if_unchanged)) > 1:
        raise click.UsageError("--if-absent, --if-present, --if-revision and --if-unchanged exclude each other")
    if if_unchanged and revision is None:
        raise ArgumentInvalid("--if-unchanged needs a document with its _revision, as csctl get shows it")
    request = requests.put_document(
        collection,
        document_id,
        body,
        if_revision=revision if if_unchanged else if_revision,
        if_exists=False if if_absent else True if if_present else None,
        ttl=ttl,
    )
    if dry_run:
        _would_put(collection, document_id, session, out)
        return
    answer = session.run(lambda store: store.send(request), f"cannot write {collection}/{document_id}")
    created = answer.status == 201
    out.result(
        {"_id": document_id, "_revision": answer.revision, "created": created},
        f"{collection}/{document_id} {'created' if created else 'replaced'} at revision {answer.revision}"
        + (", against the schema of the collection, which only warns" if answer.schema_warning else ""),
    )


def _would_put(collection: str, document_id: str, session: Session, out: Output) -> None:
    async def work(store: Store) -> bool:
        try:
            await store.document(collection, document_id)
        except NotFound as error:
            if error.code != "document_not_found":
                raise
            return False
        return True

    exists = session.run(work, f"cannot read {collection}/{document_id}")
    out.result(
        {"_id": document_id, "created": not exists},
        f"{collection}/{document_id} would be {'replaced' if exists else 'created'}. Nothing was changed.",
    )


@click.command("insert", cls=DataCommand, short_help="Create a document; the store makes its ID.")
@collection_argument
@click.argument("words", nargs=-1, required=True, metavar="DOCUMENT")
@ttl_option
@output_options
@connection_options
def insert(collection: str, words: tuple[str, ...], ttl: str | None, session: Session, out: Output) -> None:
    """Create a document with an ID that the store makes. DOCUMENT as with csctl put; without _id.

    \b
    Examples:
      csctl insert books title=Emma year=1815
      cat emma.json | csctl insert books -
    """
    found, _, body = arguments.body_of(expanded(words))
    if found is not None:
        raise ArgumentInvalid("the document has an _id: csctl put writes it under that")
    request = requests.insert_document(collection, body, ttl=ttl)
    answer = session.run(lambda store: store.send(request), f"cannot write to {collection}")
    document_id = requests.id_of(answer)
    out.result(
        {"_id": document_id, "_revision": answer.revision},
        f"{collection}/{document_id} created at revision {answer.revision}",
    )


@click.command("delete", cls=DataCommand, short_help="Delete documents, by ID or by a filter.")
@collection_argument
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_id)
@click.option("-w", "--where", "where", multiple=True, metavar="FILTER", help="Delete what matches; may be repeated.")
@click.option("--all", "everything", is_flag=True, help="Delete all documents.")
@click.option("--one", is_flag=True, help="With --where: only the first match.")
@click.option("--if-revision", type=click.IntRange(min=1), metavar="N", help="Only if it is of this revision.")
@click.option("--ignore-missing", is_flag=True, help="IDs that are not there are no error.")
@dry_run_option
@yes_option
@output_options
@connection_options
def delete(
    collection: str,
    ids: tuple[str, ...],
    where: tuple[str, ...],
    if_revision: int | None,
    session: Session,
    out: Output,
    *,
    everything: bool,
    one: bool,
    ignore_missing: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete documents: those with these IDs, or those that match. What matches is counted, and you are asked first.

    \b
    Examples:
      csctl delete books dune hobbit
      csctl delete books --where 'year<1900'
      csctl delete books --where status=draft --dry-run
    """
    if sum((bool(ids), bool(where), everything)) != 1:
        raise click.UsageError("name documents by ID, or by --where FILTER, or --all")
    if ids:
        if if_revision is not None and len(ids) > 1:
            raise click.UsageError("--if-revision goes with one ID")
        _delete_ids(collection, ids, if_revision, session, out, ignore_missing=ignore_missing, dry_run=dry_run)
        return
    chosen = arguments.filter_of(expanded(where))
    _delete_found(collection, chosen, session, out, one=one, dry_run=dry_run, yes=yes)


def _delete_ids(
    collection: str,
    ids: tuple[str, ...],
    if_revision: int | None,
    session: Session,
    out: Output,
    *,
    ignore_missing: bool,
    dry_run: bool,
) -> None:
    done: list[dict[str, Any]] = []

    async def work(store: Store) -> None:
        for one in dict.fromkeys(ids):
            try:
                if dry_run:
                    await store.document(collection, one)
                    done.append({"_id": one, "deleted": False})
                    continue
                answer = await store.send(requests.delete_document(collection, one, if_revision=if_revision))
                done.append({"_id": one, "_revision": answer.revision, "deleted": True})
            except NotFound as error:
                if not ignore_missing or error.code != "document_not_found":
                    raise

    try:
        session.run(work, f"cannot delete from {collection}")
    finally:
        for one in done:
            end = "would be deleted. Nothing was changed." if dry_run else f"deleted at revision {one['_revision']}"
            out.result(one, f"{collection}/{one['_id']} {end}")


def _delete_found(
    collection: str, chosen: dict[str, Any], session: Session, out: Output, *, one: bool, dry_run: bool, yes: bool
) -> None:
    count = session.run(lambda store: store.count(collection, chosen), f"cannot count in {collection}")
    count = min(count, 1) if one else count
    what = f"{count} {'document' if count == 1 else 'documents'} of {collection}"
    if dry_run:
        out.result({"matched": count, "deleted": 0}, f"{what} would be deleted. Nothing was changed.")
        return
    if count:
        confirm(f"Delete {what}?", yes=yes)
    progress: dict[str, int] = {"deleted": 0, "skipped": 0}

    async def work(store: Store) -> None:
        body: dict[str, Any] = {"filter": chosen, "many": True}
        if one:
            answer = await store.post(f"/collections/{requests.segment(collection)}:delete", {"filter": chosen})
            progress["deleted"] = int(answer["deleted"])
            return
        async for part in store.many(collection, "delete", body):
            progress["deleted"] += int(part["deleted"])
            progress["skipped"] += int(part["skipped"])

    tell_many(lambda: session.run(work, f"cannot delete from {collection}"), progress)
    skipped = f", {progress['skipped']} left alone, since others changed them" if progress["skipped"] else ""
    deleted = progress["deleted"]
    out.result(progress, f"{deleted} {'document' if deleted == 1 else 'documents'} of {collection} deleted{skipped}")


def _document(words: list[str]) -> tuple[str, bytes, int | None]:
    """Return ID, text and revision of the words `[ID] DOCUMENT`. Raises ArgumentInvalid."""
    first = words[0]
    given: str | None = None
    # What is neither JSON, a file nor a value is an ID, and so is whatever comes before JSON or a file.
    if not (_whole(first) or "=" in first) or (len(words) > 1 and _whole(words[1])):
        given, words = first, words[1:]
    if not words:
        raise ArgumentInvalid("the document is missing: JSON, @FILE, - for stdin, or path=value")
    found, revision, body = arguments.body_of(expanded(words))
    if given is not None and found not in (None, given):
        raise ArgumentInvalid(f"the document has the _id {arguments.shown(str(found))}, not {arguments.shown(given)}")
    document_id = given if given is not None else found
    if document_id is None:
        raise ArgumentInvalid("an ID is missing: csctl put COLLECTION ID DOCUMENT; csctl insert lets the store make it")
    return document_id, body, revision


def _whole(word: str) -> bool:
    """Whether a word is a document of its own: JSON, a file, or stdin."""
    return word.lstrip().startswith("{") or word == "-" or word.startswith("@")
