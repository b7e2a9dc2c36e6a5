"""csctl role: what users may do."""

from __future__ import annotations

from typing import Any

import click

from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Group
from collectionstore.data import arguments
from collectionstore.data.options import DataCommand, connection_options, expanded, yes_option
from collectionstore.data.output import Output, output_options
from collectionstore.data.requests import json_body, segment
from collectionstore.data.session import Session
from collectionstore.render.json_text import compact

TITLES = {"name": "NAME", "rules": "MAY", "inherits": "INHERITS", "description": "DESCRIPTION"}


@click.group("role", cls=Group, short_help="Roles: what users may do.")
def role_group() -> None:
    """Roles: what users may do, to which collections and buckets. Needs the role admin.

    \b
    Examples:
      csctl role put books-writer --allow read,write,watch --collections 'books,books-*'
      csctl role put own-orders --allow read --collections orders --where 'owner=ada' --fields id,total
      csctl role list
    """


@role_group.command("list", cls=DataCommand)
@click.argument("prefix", default="")
@output_options
@connection_options
def list_roles(prefix: str, session: Session, out: Output) -> None:
    """List the roles, those too that are built in."""
    found = session.run(lambda store: store.pages("/roles", "roles", prefix=prefix), "cannot list the roles")
    if out.people:
        found = [
            {
                "name": one["name"],
                "rules": "; ".join(_told(rule) for rule in one["rules"]),
                "inherits": ", ".join(one["inherits"]),
                "description": "built in" if one["built_in"] else one["description"],
            }
            for one in found
        ]
    out.rows(found, titles=TITLES)


@role_group.command("get", cls=DataCommand)
@click.argument("name")
@output_options
@connection_options
def get(name: str, session: Session, out: Output) -> None:
    """Show a role with its rules."""
    out.document(compact(session.run(lambda store: store.get(_path(name)), f"cannot read the role {name}")))


@role_group.command("put", cls=DataCommand)
@click.argument("name")
@click.argument("role", required=False)
@click.option("--allow", metavar="VERBS", help="read,write,create,drop,index,watch,transact,backup,admin,monitor")
@click.option("--deny", metavar="VERBS", help="The same; a denial comes before what is allowed.")
@click.option("--collections", metavar="NAMES", help="Which collections: books,orders-*")
@click.option("--buckets", metavar="NAMES", help="Which buckets.")
@click.option("--whole-cluster", is_flag=True, help="The cluster itself, for admin, backup and monitor.")
@click.option("-w", "--where", multiple=True, metavar="FILTER", help="Only documents that match.")
@click.option("-f", "--fields", metavar="FIELDS", help="Only these fields (title,year), or all but these (-salary).")
@click.option("--inherits", metavar="ROLES", help="All that these roles may.")
@click.option("--description", default="", metavar="TEXT")
@click.option("--missing", is_flag=True, help="It may name collections that do not exist yet.")
@output_options
@connection_options
def put(
    name: str,
    role: str | None,
    allow: str | None,
    deny: str | None,
    collections: str | None,
    buckets: str | None,
    where: tuple[str, ...],
    fields: str | None,
    inherits: str | None,
    description: str,
    session: Session,
    out: Output,
    *,
    whole_cluster: bool,
    missing: bool,
) -> None:
    """Create or replace a role: one rule by the options, or ROLE, JSON with several, @FILE, or - for stdin."""
    if role is not None:
        if allow or deny or collections or buckets or where or fields or inherits or whole_cluster or description:
            raise click.UsageError("a role of JSON is whole: no options beside it")
        body = arguments.json_of(expanded([role])[0], "the role")
    else:
        if bool(allow) == bool(deny) and not inherits:
            raise click.UsageError("name what the role may: --allow VERBS, --deny VERBS, or --inherits ROLES")
        rules = []
        if verbs := allow or deny:
            rules.append(_rule(verbs, collections, buckets, where, fields, allow=bool(allow), cluster=whole_cluster))
        body = {"rules": rules, "description": description}
        if inherits:
            body["inherits"] = arguments.names_of(inherits, "the roles")
    request = json_body("PUT", _path(name), body, writes=True)
    if missing:
        request.parameters["missing"] = "allow"
    answer = session.run(lambda store: store.send(request), f"cannot write the role {name}")
    out.result({"name": name, **body}, f"role {name} {'created' if answer.status == 201 else 'replaced'}")


@role_group.command("delete", cls=DataCommand)
@click.argument("name")
@yes_option
@output_options
@connection_options
def delete(name: str, session: Session, out: Output, *, yes: bool) -> None:
    """Delete a role that nothing names any more. You are asked first."""
    confirm(f"Delete the role {name}?", yes=yes)
    request = json_body("DELETE", _path(name), writes=True)
    out.result(session.run(lambda store: store.ask(request), f"cannot delete {name}"), f"role {name} deleted")


def _rule(
    verbs: str,
    collections: str | None,
    buckets: str | None,
    where: tuple[str, ...],
    fields: str | None,
    *,
    allow: bool,
    cluster: bool,
) -> dict[str, Any]:
    rule: dict[str, Any] = {"effect": "allow" if allow else "deny", "verbs": arguments.names_of(verbs, "the verbs")}
    if collections:
        rule["collections"] = arguments.names_of(collections, "the collections")
    if buckets:
        rule["buckets"] = arguments.names_of(buckets, "the buckets")
    if cluster:
        rule["cluster"] = True
    if where:
        rule["filter"] = arguments.filter_of(expanded(where))
    if fields:
        shown = arguments.projection_of(fields)
        rule["fields"] = {"show" if set(shown.values()) == {1} else "hide": list(shown)}
    return rule


def _told(rule: dict[str, Any]) -> str:
    targets = [*rule.get("collections", ()), *(f"bucket {one}" for one in rule.get("buckets", ()))]
    if rule.get("cluster"):
        targets.append("cluster")
    limits = [text for key, text in (("filter", "some documents"), ("fields", "some fields")) if rule.get(key)]
    told = f"{', '.join(rule['verbs'])} on {', '.join(targets) or 'nothing'}"
    denied = "not " if rule.get("effect") == "deny" else ""
    bounds = f" ({', '.join(limits)})" if limits else ""
    return f"{denied}{told}{bounds}"


def _path(name: str) -> str:
    return f"/roles/{segment(name)}"
