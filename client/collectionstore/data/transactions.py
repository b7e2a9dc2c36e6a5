"""csctl transaction: several changes at one revision, or none."""

from __future__ import annotations

from typing import Any, Final

import click

from collectionstore.cli.exit_codes import ExitCode
from collectionstore.cli.words import Incomplete, split
from collectionstore.data import arguments
from collectionstore.data.arguments import ArgumentInvalid
from collectionstore.data.options import DataCommand, connection_options, dry_run_option, expanded
from collectionstore.data.output import Output, output_options
from collectionstore.data.problems import DataError
from collectionstore.data.requests import json_body
from collectionstore.data.session import Session
from collectionstore.render.json_text import compact

OPERATIONS: Final = (
    "put COLLECTION ID VALUE..., update COLLECTION ID CHANGE..., delete COLLECTION ID, get COLLECTION ID"
)


@click.command("transaction", cls=DataCommand, short_help="Several changes at one revision, or none.")
@click.argument("operations", nargs=-1, required=True, metavar="OPERATION...")
@click.option(
    "--if", "guards", multiple=True, metavar="GUARD", help="Only if: 'COLLECTION ID [FILTER]...'; may be repeated."
)
@click.option("--unless", multiple=True, metavar="GUARD", help="Only if not; may be repeated.")
@click.option("--else", "otherwise", multiple=True, metavar="OPERATION", help="Done if a guard does not hold.")
@dry_run_option
@output_options
@connection_options
def transaction(
    operations: tuple[str, ...],
    guards: tuple[str, ...],
    unless: tuple[str, ...],
    otherwise: tuple[str, ...],
    session: Session,
    out: Output,
    *,
    dry_run: bool,
) -> None:
    """Run operations as one transaction: all of them at one revision, or none.

    OPERATION is put COLLECTION ID VALUE..., update COLLECTION ID CHANGE..., delete COLLECTION ID or get COLLECTION ID,
    each in quotes, with values and changes as those commands take them; or JSON, the body of the request, alone, as
    text, @FILE or -. GUARD holds if the document is there, and matches the filters behind it. If a guard does not hold
    and there is no --else, the exit code is 13.

    \b
    Examples:
      csctl transaction 'update books dune copies-=1' 'update loans ada books[]=dune' --if 'books dune copies>0'
      csctl transaction @transfer.json
    """
    body = _body(expanded(operations), guards, unless, otherwise)
    if dry_run:
        out.document(compact(body))
        return
    request = json_body("POST", "/transactions", body, writes=True)
    answer = session.run(lambda store: store.ask(request), "the transaction was not done")
    if out.people:
        ran = body.get("then" if answer["succeeded"] else "else") or []
        rows = [
            {"operation": _named(one), **_result(result)} for one, result in zip(ran, answer["results"], strict=True)
        ]
        out.rows(rows, titles={"operation": "OPERATION", "result": "RESULT", "document": "DOCUMENT"})
    if not answer["succeeded"] and not body.get("else"):
        if not out.people:
            out.document(compact(answer))
        raise DataError("a guard does not hold; nothing was changed", ExitCode.CONFLICT)
    word = "done" if answer["succeeded"] else "a guard does not hold: --else was done instead,"
    out.result(answer, f"{word} at revision {answer['revision']}")


def _body(
    operations: list[str], guards: tuple[str, ...], unless: tuple[str, ...], otherwise: tuple[str, ...]
) -> dict[str, Any]:
    if operations[0].lstrip().startswith("{"):
        if len(operations) > 1 or guards or unless or otherwise:
            raise ArgumentInvalid(
                "a transaction of JSON is whole: no other operation, --if, --unless or --else beside it"
            )
        return dict(arguments.json_of(operations[0], "the transaction"))
    body: dict[str, Any] = {
        "compare": [*(_guard(one, holds=True) for one in guards), *(_guard(one, holds=False) for one in unless)],
        "then": [_operation(one) for one in operations],
    }
    if otherwise:
        body["else"] = [_operation(one) for one in otherwise]
    return body


def _operation(text: str) -> dict[str, Any]:
    words = _words(text)
    name, rest = words[0], words[3:]
    if name not in ("put", "update", "delete", "get") or len(words) < 3:
        raise ArgumentInvalid(f"{arguments.shown(text)} is no operation; allowed: {OPERATIONS}")
    target = {"op": name, "collection": words[1], "id": words[2]}
    if name == "put":
        if not rest:
            raise ArgumentInvalid(f"{arguments.shown(text)}: the document is missing")
        return {**target, "document": arguments.document_of(rest)}
    if name == "update":
        return {**target, "update": arguments.update_of(rest)}
    if rest:
        raise ArgumentInvalid(f"{arguments.shown(text)}: {name} takes a collection and an ID")
    return target


def _guard(text: str, *, holds: bool) -> dict[str, Any]:
    words = _words(text)
    if len(words) < 2:
        raise ArgumentInvalid(f"{arguments.shown(text)} is no guard; allowed: COLLECTION ID [FILTER]...")
    guard: dict[str, Any] = {"collection": words[0], "id": words[1], "field": "exists", "operand": holds}
    if len(words) > 2:
        guard["filter"] = arguments.filter_of(words[2:])
    return guard


def _words(text: str) -> list[str]:
    try:
        words = split(text)
    except Incomplete as error:
        raise ArgumentInvalid(f"{arguments.shown(text)}: {error}") from error
    if not words:
        raise ArgumentInvalid(f"an operation is empty; allowed: {OPERATIONS}")
    return words


def _named(operation: dict[str, Any]) -> str:
    target = (operation.get("collection") or operation.get("bucket"), operation.get("id") or operation.get("key"))
    return f"{operation.get('op')} {target[0]}/{target[1]}"


def _result(result: dict[str, Any]) -> dict[str, Any]:
    if "deleted" in result:
        return {"result": "deleted" if result["deleted"] else "was absent"}
    if "document" in result:
        return {"result": f"revision {result['revision']}", "document": result["document"]}
    if result.get("modified") is False:
        return {"result": "as it was"}
    return {"result": "created" if result.get("created") else "changed"}
