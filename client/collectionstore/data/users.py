"""csctl user: who may log in, with which roles."""

from __future__ import annotations

from typing import Any

import click

from collectionstore.cli.asking import confirm, read_secret
from collectionstore.cli.commands import Group
from collectionstore.data.options import DataCommand, connection_options, yes_option
from collectionstore.data.output import Output, output_options
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.render.json_text import compact
from collectionstore.wire.requests import condition

TITLES = {
    "name": "NAME",
    "roles": "ROLES",
    "password": "PASSWORD",
    "disabled": "DISABLED",
    "description": "DESCRIPTION",
}
KEPT = ("roles", "disabled", "description", "limits")
"""What a user is, besides its name, its password and its tokens."""


@click.group("user", cls=Group, short_help="Users, their roles and passwords.")
def user_group() -> None:
    """Users, their roles and passwords. Needs the role admin.

    \b
    Examples:
      csctl user create ada --role reader --password
      csctl user change ada --add-role books-writer
      csctl user list
    """


@user_group.command("list", cls=DataCommand)
@click.argument("prefix", default="")
@output_options
@connection_options
def list_users(prefix: str, session: Session, out: Output) -> None:
    """List the users, those that begin with PREFIX."""
    found = session.run(lambda store: store.pages("/users", "users", prefix=prefix), "cannot list the users")
    if out.people:
        found = [{name: _cell(one.get(name)) for name in TITLES} for one in found]
    out.rows(found, titles=TITLES, empty="There are no users. Create one: csctl user create NAME --role ROLE")


@user_group.command("get", cls=DataCommand)
@click.argument("name")
@output_options
@connection_options
def get(name: str, session: Session, out: Output) -> None:
    """Show a user."""
    out.document(compact(session.run(lambda store: store.get(_path(name)), f"cannot read the user {name}")))


@user_group.command("create", cls=DataCommand)
@click.argument("name")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="A role of the user; may be repeated.")
@click.option("--description", default="", metavar="TEXT")
@click.option("--password", is_flag=True, help="Ask for a password, twice.")
@click.option("--password-stdin", is_flag=True, help="Take the password from stdin.")
@output_options
@connection_options
def create(
    name: str,
    roles: tuple[str, ...],
    description: str,
    session: Session,
    out: Output,
    *,
    password: bool,
    password_stdin: bool,
) -> None:
    """Create a user. Without a password it logs in by tokens alone: csctl token create."""
    secret = _password(from_stdin=password_stdin) if password or password_stdin else None
    request = json_body("PUT", _path(name), {"roles": list(roles), "description": description}, writes=True)
    condition(request, if_exists=False)

    async def work(store: Store) -> None:
        await store.send(request)
        if secret is not None:
            await _set_password(store, name, secret)

    session.run(work, f"cannot create the user {name}")
    shown = f"with {', '.join(roles)}" if roles else "without a role, so it may do nothing yet"
    out.result({"name": name, "roles": list(roles), "password": secret is not None}, f"user {name} created, {shown}")


@user_group.command("change", cls=DataCommand)
@click.argument("name")
@click.option("--add-role", multiple=True, metavar="ROLE")
@click.option("--remove-role", multiple=True, metavar="ROLE")
@click.option("--description", metavar="TEXT")
@click.option(
    "--disable/--enable", "disabled", default=None, help="A disabled user may do nothing; it keeps its roles."
)
@output_options
@connection_options
def change(
    name: str,
    add_role: tuple[str, ...],
    remove_role: tuple[str, ...],
    description: str | None,
    disabled: bool | None,  # noqa: FBT001 - click passes it
    session: Session,
    out: Output,
) -> None:
    """Change a user: its roles, its description, whether it may do anything."""

    async def work(store: Store) -> dict[str, Any]:
        found = await store.get(_path(name))
        body = {key: found[key] for key in KEPT if found.get(key) is not None}
        roles = [one for one in found["roles"] if one not in remove_role]
        body["roles"] = [*roles, *(one for one in dict.fromkeys(add_role) if one not in roles)]
        if description is not None:
            body["description"] = description
        if disabled is not None:
            body["disabled"] = disabled
        request = json_body("PUT", _path(name), body, writes=True)
        # What others have changed since it was read is not taken back.
        condition(request, int(found["revision"]))
        await store.send(request)
        return body

    body = session.run(work, f"cannot change the user {name}")
    state = "disabled" if body.get("disabled") else f"roles {', '.join(body['roles']) or 'none'}"
    out.result({"name": name, **body}, f"user {name} changed: {state}")


@user_group.command("delete", cls=DataCommand)
@click.argument("name")
@yes_option
@output_options
@connection_options
def delete(name: str, session: Session, out: Output, *, yes: bool) -> None:
    """Delete a user with all its tokens; what runs under them ends within a second. You are asked first."""
    confirm(f"Delete the user {name} with all its tokens?", yes=yes)
    request = json_body("DELETE", _path(name), writes=True)
    out.result(session.run(lambda store: store.ask(request), f"cannot delete {name}"), f"user {name} deleted")


@user_group.command("password", cls=DataCommand)
@click.argument("name")
@click.option("--remove", is_flag=True, help="Leave the user without a password.")
@click.option("--password-stdin", is_flag=True, help="Take the password from stdin.")
@connection_options
def password(name: str, session: Session, *, remove: bool, password_stdin: bool) -> None:
    """Set the password of a user, asked for twice; what was opened with the one before ends."""
    if remove:
        if password_stdin:
            raise click.UsageError("--remove excludes --password-stdin")
        request = json_body("DELETE", f"{_path(name)}/password", writes=True)
        request.repeatable = False
        session.run(lambda store: store.send(request), f"cannot change the user {name}")
        click.echo(f"user {name} has no password any more")
        return
    secret = _password(from_stdin=password_stdin)
    session.run(lambda store: _set_password(store, name, secret), f"cannot set the password of {name}")
    click.echo(f"password of {name} set")


async def _set_password(store: Store, name: str, secret: str) -> None:
    request = json_body("PUT", f"{_path(name)}/password", {"password": secret}, writes=True)
    # Safe to repeat, and takes no key.
    request.repeatable = False
    await store.send(request)


def _password(*, from_stdin: bool) -> str:
    return read_secret("Password", from_stdin=from_stdin, option="--password-stdin", twice=True)


def _path(name: str) -> str:
    return f"/users/{segment(name)}"


def _cell(value: object) -> object:
    if isinstance(value, list):
        return ", ".join(str(one) for one in value)
    return {True: "yes", False: ""}.get(value, value) if isinstance(value, bool) else value
