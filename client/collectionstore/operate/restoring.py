"""The verb that puts a backup in the place of what a cluster has: offered, looked at, acknowledged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import click

from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Command
from collectionstore.cli.exit_codes import CommandError
from collectionstore.kubernetes import names
from collectionstore.operate import goals
from collectionstore.operate.access import Object
from collectionstore.operate.goals import status_of
from collectionstore.operate.kubernetes_access import KubernetesAccess, refusals
from collectionstore.operate.looking import DOCUMENTS
from collectionstore.operate.options import Place, place_options, wait_options, yes_option
from collectionstore.operate.output import output_option, print_document
from collectionstore.operate.saving import LATEST, restore_source
from collectionstore.operate.waiting import wait_for

OFFERED_S: Final = 120.0
"""Until the operator has answered a request."""


class NothingToRestore(CommandError):
    """No restore is offered, or another one than was looked at; nothing was changed."""


@click.command("restore-in-place", cls=Command, short_help="Replace what a cluster has by a backup, guided.")
@click.argument("cluster")
@click.option("--from-backup", metavar="NAME", help="A CollectionStoreBackup in the namespace.")
@click.option("--repository", "url", metavar="URL", help="The repository, instead of --from-backup.")
@click.option("--backup", "backup_id", default=LATEST, show_default=True, metavar="ID", help="Which backup of it.")
@click.option("--to", "point", metavar="POINT", help="Go on by the archive: end, revision:N, or a time.")
@click.option("--old-volumes", type=click.Choice(["Keep", "Delete"]), help="What becomes of them. [default: Keep]")
@click.option("--acknowledge", "nonce", metavar="NONCE", help="Carry out what was offered with this nonce.")
@yes_option
@output_option
@wait_options(1_800)
@place_options
def restore_in_place(
    cluster: str,
    from_backup: str | None,
    url: str | None,
    backup_id: str,
    point: str | None,
    old_volumes: str | None,
    nonce: str | None,
    output: str,
    timeout_s: float,
    place: Place,
    *,
    yes: bool,
    wait: bool,
) -> None:
    """Replace what CLUSTER has by a backup, without another resource; in two steps.

    The first names the backup and changes no data: it shows what would be lost, with a nonce. The second acknowledges
    that nonce: all members stop, the first is made of the backup under another cluster ID, and the others join it. The
    old volumes are kept, unless --old-volumes Delete was given, and then until the restored cluster works.

    A local cluster is restored by csctl restore, into another one.

    \b
    Examples:
      kubectl collectionstore restore-in-place demo --from-backup demo-20260102
      kubectl collectionstore restore-in-place demo --acknowledge 0123456789abcdef0123456789abcdef
    """
    if not place.kubernetes:
        raise click.UsageError("a local cluster is not restored in place: csctl restore makes another one of a backup")
    if nonce is not None and (from_backup or url):
        raise click.UsageError("--acknowledge is for what was offered: the backup was named before")
    if nonce is None and (from_backup is None) == (url is None):
        raise click.UsageError("name the backup by one of --from-backup and --repository")
    with place.server() as server:
        namespace = place.namespace or server.namespace
        access = KubernetesAccess(server, namespace, cluster)
        before = access.read()
        if nonce is not None:
            _acknowledge(access, before, nonce, timeout_s=timeout_s, yes=yes, wait=wait)
            return
        source: Object = {"repository": {"url": url}, "backup": backup_id}
        if from_backup is not None:
            with refusals(f"cannot read the backup {from_backup}"):
                source = restore_source(server.get_object(names.BACKUPS.path(namespace, from_backup)))
        # With null for what is not asked for: a merge would leave what an earlier request has asked for.
        asked = {**source, "to": point, "oldVolumes": old_volumes, "sourceCluster": None, "nonce": None}
        access.change({"spec": {"restore": asked}})
        wait_for(access, before, goals.restore_offered, what="the offer of a restore", timeout_s=OFFERED_S)
        found = status_of(access.read()).get("restore") or {}
    if output in DOCUMENTS:
        print_document(found, output)
        return
    click.echo(f"{found.get('phase')}: {found.get('message')}")
    if found.get("waitingFor"):
        click.echo(f"Blocked: {found['waitingFor']}")
    if found.get("nonce"):
        click.echo(f"To go on: restore-in-place {cluster} --acknowledge {found['nonce']}")


def _acknowledge(
    access: KubernetesAccess, before: Mapping[str, Any], nonce: str, *, timeout_s: float, yes: bool, wait: bool
) -> None:
    found = status_of(before).get("restore") or {}
    if found.get("phase") not in ("Offered", "Restoring") or not (before.get("spec") or {}).get("restore"):
        raise NothingToRestore(f"{access.name}: no restore is offered now; name a backup by --from-backup first")
    if found.get("nonce") != nonce:
        raise NothingToRestore(
            f"{access.name}: {nonce} is not the nonce of what is offered now, which is {found.get('nonce') or 'none'}: "
            f"{found.get('message')}"
        )
    confirm(f"{found.get('message')}. Replace what {access.name} has?", yes=yes)
    access.change({"spec": {"restore": {"nonce": nonce}}})
    click.echo(f"{access.name}: restore of {found.get('backup')} requested")
    if wait:
        goal = goals.restored(nonce)
        click.echo(wait_for(access, before, goal, what="the restore", timeout_s=timeout_s))
