"""csctl login, logout, whoami, access: who this is, and how it is asked for."""

from __future__ import annotations

from typing import Any

import click

from collectionstore.cli.asking import confirm, on_terminal, read_secret
from collectionstore.cli.commands import Group
from collectionstore.cli.exit_codes import ExitCode
from collectionstore.contexts import file
from collectionstore.contexts.file import Context
from collectionstore.data import arguments
from collectionstore.data.options import DataCommand, connection_options, expanded, yes_option
from collectionstore.data.output import Output, output_options
from collectionstore.data.problems import DataError
from collectionstore.data.requests import json_body
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.render.json_text import compact
from collectionstore.wire.requests import Request, condition

MODES = ("Disabled", "Permissive", "Enforced")


@click.command("login", cls=DataCommand, short_help="Log in with a user and a password.")
@click.argument("user", required=False)
@click.option("--password-stdin", is_flag=True, help="Take the password from stdin.")
@click.option("--save", metavar="NAME", help="Save it as this context, where none is used.")
@connection_options
def login(user: str | None, save: str | None, session: Session, *, password_stdin: bool) -> None:
    """Log in, and keep the token of the login in the context, until it ends: csctl logout ends it at once.

    \b
    Examples:
      csctl login ada
      csctl login ada --url https://store.example.org:7400 --save prod
      csctl login ada --password-stdin < password
    """
    found = session.target
    name = save or found.name
    if not name:
        raise click.UsageError("the login is kept in a context: name a new one with --save NAME, or use --context NAME")
    user = user or found.context.user
    if not user:
        if not on_terminal():
            raise click.UsageError("name the user: csctl login USER")
        user = str(click.prompt("User", err=True))
    password = read_secret("Password", from_stdin=password_stdin, option="--password-stdin")
    request = json_body("POST", "/login", {"user": user, "password": password}, writes=True)
    request.repeatable = False
    anonymous = Session(session.choice, anonymous=True)
    click.get_current_context().call_on_close(anonymous.close)
    try:
        made = anonymous.run(lambda store: store.ask(request), f"cannot log in as {user}")
    except DataError as error:
        if error.exit_code is not ExitCode.UNAUTHORIZED:
            raise
        text = f"cannot log in as {user}: there is no such user, or the password is wrong"
        raise DataError(text, error.exit_code, code=error.code) from error
    fields = {key: getattr(found.context, key) for key in found.context.__struct_fields__}
    fields |= {"user": user, "token": made["token"], "token_expires": made["expires_ms"] / 1000}
    with file.change() as change:
        change.put(name, Context(**fields), use=bool(save))
    session.close()
    click.echo(f"Logged in as {user}, in the context {name}, for {made['expires_in_s'] // 60} minutes.")


@click.command("logout", cls=DataCommand, short_help="End the login of a context.")
@connection_options
def logout(session: Session) -> None:
    """End the login of the context, in the store and here."""
    found = session.target
    if not found.name or not found.context.token:
        raise click.UsageError("the context has no login")
    request = json_body("POST", "/logout", {}, writes=True)
    request.repeatable = False
    ended = "It had ended in the store already."
    try:
        session.run(lambda store: store.send(request), "cannot log out")
        ended = "Logged out."
    except DataError as error:
        # The token is worth nothing any more: what is left is to forget it.
        if error.exit_code is not ExitCode.UNAUTHORIZED:
            raise
    with file.change() as change:
        known = change.contexts.context(found.name)
        fields = {key: getattr(known, key) for key in known.__struct_fields__}
        change.put(found.name, Context(**{**fields, "token": "", "token_expires": None}))
    session.close()
    click.echo(f"{ended} The context {found.name} has no token any more.")


@click.command("whoami", cls=DataCommand, short_help="Show who the store takes you for, and your roles.")
@output_options
@connection_options
def whoami(session: Session, out: Output) -> None:
    """Show who the store takes you for, by which credential, and with which roles."""
    request = Request("GET", "/whoami", timed=False)
    found = session.run(lambda store: store.ask(request), "cannot ask who this is")
    if not out.people:
        out.document(compact(found))
        return
    rows = [
        {"what": "user", "value": found["user"] or "(not told)"},
        {"what": "by", "value": found["method"] or "-"},
        {"what": "roles", "value": ", ".join(found["roles"]) or "-"},
        {"what": "administers", "value": "yes" if found["administers"] else "no"},
        {"what": "access control", "value": found["mode"]},
        {"what": "cluster", "value": session.target.place},
    ]
    out.rows(rows, titles={"what": "WHO", "value": ""})


@click.group("access", cls=Group, short_help="Whether and how access is controlled.")
def access_group() -> None:
    """Whether and how access is controlled. Needs the role admin.

    \b
    Examples:
      csctl access get
      csctl access mode Permissive
    """


@access_group.command("get", cls=DataCommand)
@output_options
@connection_options
def get(session: Session, out: Output) -> None:
    """Show the access configuration, and how many users, roles and tokens there are."""
    out.document(compact(session.run(lambda store: store.get("/access"), "cannot read the access configuration")))


@access_group.command("mode", cls=DataCommand)
@click.argument("mode", type=click.Choice(MODES))
@yes_option
@output_options
@connection_options
def mode(mode: str, session: Session, out: Output, *, yes: bool) -> None:
    """Set the mode: Enforced refuses what no role allows, Permissive counts it, Disabled allows all. You are asked.

    On Kubernetes the operator sets it, by spec.access of the resource.
    """
    questions = {"Enforced": "What no role allows is refused then. ", "Disabled": "Everybody may do everything then. "}
    confirm(f"{questions.get(mode, '')}Set access control to {mode}?", yes=yes)
    answer = session.run(lambda store: _change(store, {"mode": mode}), "cannot set the mode")
    out.result(answer, f"access control is {mode}")


@access_group.command("set", cls=DataCommand)
@click.argument("configuration")
@yes_option
@output_options
@connection_options
def set_configuration(configuration: str, session: Session, out: Output, *, yes: bool) -> None:
    """Replace parts of the configuration: JSON, @FILE, or - for stdin; what it does not name stays. You are asked."""
    body = arguments.json_of(expanded([configuration])[0], "the configuration")
    confirm(f"Replace {', '.join(body) or 'nothing'} of the access configuration?", yes=yes)
    answer = session.run(lambda store: _change(store, body), "cannot set the access configuration")
    out.result(answer, f"access configuration changed: {', '.join(body)}")


async def _change(store: Store, body: dict[str, Any]) -> dict[str, Any]:
    found = await store.get("/access")
    counted = ("configured", "users", "roles", "tokens", "access_revision", "configuration_revision", "revision")
    whole = {name: value for name, value in found.items() if name not in counted}
    request = json_body("PUT", "/access", {**whole, **body}, writes=True)
    if found["configuration_revision"]:
        condition(request, int(found["configuration_revision"]))
    answer: dict[str, Any] = await store.ask(request)
    return answer
