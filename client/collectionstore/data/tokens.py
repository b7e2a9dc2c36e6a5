"""csctl token: credentials of programs. A secret is shown once, or written to a file that its owner alone can read."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from collectionstore.cli import streams
from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Group
from collectionstore.data.options import DataCommand, connection_options, yes_option
from collectionstore.data.output import Output, note, output_options
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.render.json_text import compact

TITLES = {
    "id": "ID",
    "user": "USER",
    "description": "DESCRIPTION",
    "created": "CREATED",
    "expires": "EXPIRES",
    "used": "LAST USED",
}
file_option = click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the token there, readable by you alone, and do not show it.",
)


@click.group("token", cls=Group, short_help="Tokens of users, for programs.")
def token_group() -> None:
    """Tokens of users, for programs. Needs the role admin.

    \b
    Examples:
      csctl token create shop --ttl 90d --description 'the shop' --file token
      csctl token list --user shop
      csctl token revoke 0123456789abcdef
    """


@token_group.command("list", cls=DataCommand)
@click.option("--user", metavar="NAME", help="Only those of this user.")
@output_options
@connection_options
def list_tokens(user: str | None, session: Session, out: Output) -> None:
    """List tokens: what is known of them, which is not their secret."""
    found = session.run(
        lambda store: store.pages("/tokens", "tokens", parameters={"user": user} if user else {}),
        "cannot list the tokens",
    )
    if out.people:
        found = [
            {
                "id": one["id"],
                "user": one["user"],
                "description": "(login)" if one.get("session") else one["description"],
                "created": _time(one["created_ms"]),
                "expires": _time(one["expires_ms"]) or "never",
                "used": _time(one["used_ms"]),
            }
            for one in found
        ]
    out.rows(found, titles=TITLES, empty="There are no tokens.")


@token_group.command("create", cls=DataCommand)
@click.argument("user")
@click.option("--ttl", default="90d", show_default=True, metavar="TIME", help="How long it lasts; none for ever.")
@click.option("--description", default="", metavar="TEXT")
@file_option
@output_options
@connection_options
def create(user: str, ttl: str, description: str, file: Path | None, session: Session, out: Output) -> None:
    """Create a token of a user. Its secret is shown this once: the store keeps no copy."""
    body = {"user": user, "ttl": ttl, "description": description}
    _made(session, "/tokens", body, file, out, f"cannot create a token of {user}")


@token_group.command("rotate", cls=DataCommand)
@click.argument("token_id", metavar="ID")
@click.option("--overlap", default="1h", show_default=True, metavar="TIME", help="How long the secret before works on.")
@click.option("--ttl", metavar="TIME", help="How long the new one lasts. [default: as before]")
@file_option
@output_options
@connection_options
def rotate(token_id: str, overlap: str, ttl: str | None, file: Path | None, session: Session, out: Output) -> None:
    """Give a token a new secret; the one before is accepted for a while."""
    body = {"overlap": overlap, **({"ttl": ttl} if ttl else {})}
    _made(session, f"/tokens/{segment(token_id)}:rotate", body, file, out, f"cannot rotate the token {token_id[:32]}")


@token_group.command("revoke", cls=DataCommand)
@click.argument("token_ids", nargs=-1, required=True, metavar="ID...")
@yes_option
@output_options
@connection_options
def revoke(token_ids: tuple[str, ...], session: Session, out: Output, *, yes: bool) -> None:
    """Revoke tokens: what runs under them ends within a second. You are asked first."""
    what = f"the token {token_ids[0]}" if len(token_ids) == 1 else f"{len(token_ids)} tokens"
    confirm(f"Revoke {what}?", yes=yes)
    for one in token_ids:
        request = json_body("DELETE", f"/tokens/{segment(one)}", writes=True)
        answer = session.run(lambda store, request=request: store.ask(request), f"cannot revoke {one[:32]}")  # type: ignore[misc]
        out.result(answer, f"token {one} revoked")


def _made(session: Session, path: str, body: dict[str, Any], file: Path | None, out: Output, what: str) -> None:
    if file is not None and file.exists():
        raise click.UsageError(f"{file} exists, and is not replaced")
    request = json_body("POST", path, body, writes=True)
    # The secret is in one answer: the store keeps none that a repetition could be given.
    request.repeatable = False
    made = session.run(lambda store: store.ask(request), what)
    secret = str(made.pop("token"))
    expires = _time(made.get("expires_ms")) or "never"
    if file is not None:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w") as opened:
            opened.write(secret + "\n")
        out.result(made, f"token {made['id']} of {made['user']} in {file}, expires {expires}")
        return
    if out.people:
        note(f"Token {made['id']} of {made['user']}, expires {expires}. It is shown this once:")
        streams.write(secret + "\n")
    else:
        out.document(compact({**made, "token": secret}))


def _time(milliseconds: Any) -> str:
    """Return a time for people, in UTC; empty for none."""
    if not milliseconds:
        return ""
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC).strftime("%Y-%m-%d %H:%M")
