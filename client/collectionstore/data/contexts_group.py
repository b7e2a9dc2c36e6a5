"""csctl context: list, show, use, set, delete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from collectionstore.cli.asking import confirm, read_secret
from collectionstore.cli.commands import Group
from collectionstore.contexts import file
from collectionstore.contexts.file import Context, KubernetesCluster, LocalCluster
from collectionstore.contexts.targets import CONTEXT_VARIABLE, TargetInvalid
from collectionstore.data.completion import complete_context
from collectionstore.data.options import DataCommand, yes_option
from collectionstore.data.output import Output, output_options
from collectionstore.errors import ConfigurationError
from collectionstore.render.json_text import compact
from collectionstore.settings.urls import parse_url

TITLES = {"current": "", "name": "NAME", "place": "WHERE", "credential": "CREDENTIAL"}
name_argument = click.argument("name", shell_complete=complete_context)


@click.group("context", cls=Group, short_help="Which clusters there are, and by which credentials.")
def context_group() -> None:
    """Names for clusters with the credentials to use there, as kubeconfig has them. One is the current one.

    They are in ~/.config/collectionstore/contexts.json, or where COLLECTIONSTORE_CONTEXTS says, readable by you alone.

    \b
    Examples:
      csctl context set laptop --local
      csctl context set prod --url https://store.example.org:7400 --ca ca.crt --user ada
      csctl context set shop -k --cluster demo -n shop --secret demo-ada
      csctl context use prod
    """


@context_group.command("list", cls=DataCommand)
@output_options
def list_contexts(out: Output) -> None:
    """List the contexts; the current one has a *."""
    contexts = file.read()
    current = os.environ.get(CONTEXT_VARIABLE) or contexts.current
    rows: list[dict[str, Any]] = [
        {
            "current": ("*" if name == current else "") if out.people else name == current,
            "name": name,
            "place": one.place,
            "credential": one.proof,
        }
        for name, one in sorted(contexts.contexts.items())
    ]
    out.rows(rows, titles=TITLES, empty="There is no context. Make one: csctl context set NAME --url URL")


@context_group.command("show", cls=DataCommand)
@click.argument("name", required=False, shell_complete=complete_context)
@output_options
def show(name: str | None, out: Output) -> None:
    """Show a context, the current one without NAME. Secrets are not shown."""
    contexts = file.read()
    chosen = name or os.environ.get(CONTEXT_VARIABLE) or contexts.current
    if not chosen:
        raise file.ContextMissing("there is no current context: csctl context use NAME")
    found = contexts.context(chosen)
    shown: dict[str, Any] = {"name": chosen, "current": chosen == contexts.current, "where": found.place}
    shown |= {
        key: getattr(found, key) for key in ("user", "ca", "certificate", "key", "token_file") if getattr(found, key)
    }
    shown["credential"] = found.proof
    if found.token_expires is not None:
        shown["token_expires"] = found.token_expires
    out.document(compact(shown))


@context_group.command("use", cls=DataCommand)
@name_argument
def use(name: str) -> None:
    """Make a context the current one."""
    with file.change() as change:
        change.use(name)
    click.echo(f"The current context is {name}: {change.contexts.context(name).place}")


@context_group.command("set", cls=DataCommand)
@name_argument
@click.option("--url", metavar="URL", help="Connection string, or URLs of members.")
@click.option("--local", is_flag=True, help="A cluster that csctl local runs.")
@click.option("--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR", help="With --local.")
@click.option("-k", "--kubernetes", is_flag=True, help="A CollectionStoreCluster, by a port-forward of its own.")
@click.option("--cluster", metavar="NAME", help="Its name, if there are several.")
@click.option("-n", "--namespace", metavar="NAME", help="With -k. [default: that of the kubeconfig]")
@click.option("--kube-context", metavar="NAME", help="With -k: context of the kubeconfig. [default: the current one]")
@click.option("--kubeconfig", metavar="FILE", help="With -k. [default: KUBECONFIG, ~/.kube/config]")
@click.option("--secret", metavar="NAME", help="With -k: a Secret with credentials, as a CollectionStoreUser has one.")
@click.option("--ca", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Certificates to trust.")
@click.option("--certificate", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Your certificate.")
@click.option("--key", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Its key.")
@click.option("--user", metavar="NAME", help="For csctl login; the password is asked for there.")
@click.option(
    "--token-file", type=click.Path(path_type=Path), metavar="FILE", help="File with a token, read each time."
)
@click.option("--token-stdin", is_flag=True, help="Store the token on stdin.")
@click.option("--use", "make_current", is_flag=True, help="Make it the current one.")
def set_context(
    name: str,
    url: str | None,
    state_dir: Path | None,
    cluster: str | None,
    namespace: str | None,
    kube_context: str | None,
    kubeconfig: str | None,
    secret: str | None,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    user: str | None,
    token_file: Path | None,
    *,
    local: bool,
    kubernetes: bool,
    token_stdin: bool,
    make_current: bool,
) -> None:
    """Create a context, or change one: what is not given stays. The first one becomes the current one.

    A password or token is never an argument, where others would see it: --token-stdin, --token-file, csctl login.
    """
    file.check_name(name)
    kubernetes = kubernetes or any(one is not None for one in (namespace, kube_context, kubeconfig, secret))
    local = local or state_dir is not None
    if sum((url is not None, local, kubernetes)) > 1:
        raise click.UsageError("--url, --local and -k exclude each other")
    if url is not None and cluster is not None:
        raise click.UsageError("--cluster goes with --local and -k")
    if key is not None and certificate is None:
        raise click.UsageError("--key needs --certificate")
    token = read_secret("Token", from_stdin=True, option="--token-stdin") if token_stdin else None
    changed: dict[str, Any] = {}
    if url is not None:
        changed = {"url": url, "local": None, "kubernetes": None}
        _check_url(url)
    elif local:
        place = LocalCluster(str((state_dir or Path(".collectionstore")).absolute()), cluster or "")
        changed = {"url": "", "local": place, "kubernetes": None}
    elif kubernetes:
        on = KubernetesCluster(cluster or "", namespace or "", kube_context or "", kubeconfig or "", secret or "")
        changed = {"url": "", "local": None, "kubernetes": on}
    for key_name, path in (("ca", ca), ("certificate", certificate), ("key", key), ("token_file", token_file)):
        if path is not None:
            changed[key_name] = str(path.absolute())
    if user is not None:
        changed["user"] = user
    if token is not None:
        changed |= {"token": token, "token_expires": None}
    with file.change() as change:
        before = change.contexts.contexts.get(name)
        if before is None and not (url or local or kubernetes):
            raise click.UsageError("a new context needs --url, --local or -k")
        moved = (
            before is not None and bool(url or local or kubernetes) and before.place != Context(**_way(changed)).place
        )
        if moved and token is None:
            # A token of one cluster is not to be sent to another one.
            changed |= {"token": "", "token_expires": None}
        made = Context(**{**_fields(before), **changed})
        change.put(name, made, use=make_current)
    current = " It is the current one." if change.contexts.current == name else ""
    click.echo(f"context {name} {'set' if before is None else 'changed'}: {made.place}.{current}")


@context_group.command("delete", cls=DataCommand)
@name_argument
@yes_option
def delete(name: str, *, yes: bool) -> None:
    """Delete a context with its stored credentials. You are asked first; the cluster stays as it is."""
    file.read().context(name)
    confirm(f"Delete the context {name} with its credentials?", yes=yes)
    with file.change() as change:
        change.delete(name)
    click.echo(f"context {name} deleted")


def _fields(context: Context | None) -> dict[str, Any]:
    return {} if context is None else {name: getattr(context, name) for name in context.__struct_fields__}


def _way(changed: dict[str, Any]) -> dict[str, Any]:
    return {name: changed[name] for name in ("url", "local", "kubernetes")}


def _check_url(url: str) -> None:
    try:
        parse_url(url)
    except ConfigurationError as error:
        raise TargetInvalid(f"--url: {error}") from error
