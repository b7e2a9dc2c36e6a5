"""The command that makes the data directory of a new cluster."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from collectionstore_node.backup import output, results
from collectionstore_node.backup.commands.choosing import base, find
from collectionstore_node.backup.drill import Drilled, drill_backup
from collectionstore_node.backup.options import (
    deadline_option,
    key_option,
    open_repository,
    parse_point,
    read_key,
    repository_options,
    source_cluster_option,
)
from collectionstore_node.backup.output import Meter
from collectionstore_node.backup.program import within
from collectionstore_node.backup.restore import NewMember, restore_directory, restored_for
from collectionstore_node.backup.selection import LATEST
from collectionstore_node.backup.stored import (
    open_backup,
)
from collectionstore_node.settings import InvalidSetting, encryption_settings
from collectionstore_node.storage.encryption.sources import key_source


@click.command()
@click.argument("backup")
@repository_options
@source_cluster_option
@key_option
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), required=True, help="Empty or missing.")
@click.option("--cluster-id", required=True, help="ID of the NEW cluster.")
@click.option("--name", required=True, help="Name of its first member.")
@click.option("--peer-address", required=True, help="host:port at which other members will reach it.")
@click.option("--client-address", required=True, help="URL at which clients will.")
@click.option(
    "--to",
    "goal",
    metavar="POINT",
    help="Go on from the backup through the archived log: to its `end`, to `revision:N`, or to a time such as "
    "2026-01-02T03:04:05Z. BACKUP `latest` is the newest one before that point then.",
)
@click.option(
    "--bump-revision",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Add this to the revision: for clients that saw later revisions of the old cluster.",
)
@click.option(
    "--request",
    default="",
    metavar="TEXT",
    help="Succeed at once if the directory is complete, and was restored by a command with the same text.",
)
@deadline_option("6h")
def restore(
    backup: str,
    source_cluster: str | None,
    url: str,
    options: tuple[str, ...],
    form: str,
    key_file: Path | None,
    data_dir: Path,
    cluster_id: str,
    name: str,
    peer_address: str,
    client_address: str,
    goal: str | None,
    bump_revision: int,
    request: str,
    deadline_s: float,
    *,
    quiet: bool,
) -> None:
    """Make the data directory of the first member of a NEW cluster from BACKUP: an ID, `latest`, or
    `revision:N` for the newest one that is not of a later revision.

    A node that starts on it leads the cluster alone; other members join as usual. Nothing is ever restored over data.
    """
    try:
        source = key_source(encryption_settings(os.environ))
    except InvalidSetting as error:
        raise click.UsageError(str(error)) from error
    member = NewMember(cluster_id, name, peer_address, client_address, source)

    if request and restored_for(data_dir, member, request):
        if form == "json":
            output.print_json({"cluster_id": cluster_id, "already": True})
        else:
            click.echo(f"{data_dir} was restored for this request already")
        return
    repository, key = open_repository(url, options, create=False), read_key(key_file)
    meter = Meter(quiet=quiet)

    def run() -> dict[str, Any]:
        # Here: it brings most of a node along, and takes every other command twice as long to start.
        from collectionstore_node.backup.replay import check_base, replay_log

        target = None if goal is None else parse_point(goal)
        wanted = backup if target is None or backup != LATEST else base(goal or "", target)
        manifest, sealer = open_backup(repository, find(repository, wanted, source_cluster).id, key)
        if target is not None:
            check_base(manifest, target)  # BEFORE all of it is read
        replay = None if target is None else partial(replay_log, repository, manifest, key, target)
        meter.total = manifest.stream_bytes
        meter.step(f"restoring {manifest.id}, revision {manifest.revision} of {manifest.cluster_id}")
        restored = restore_directory(
            repository,
            manifest,
            sealer,
            data_dir,
            member,
            request=request,
            bump_revision=bump_revision,
            replay=replay,
            advance=meter.advance,
        )
        return {"backup": manifest.id, "cluster_id": cluster_id, "records": manifest.records} | restored._asdict()

    result = within(deadline_s, "the restore", run)
    seconds = meter.finish()
    if form == "json":
        output.print_json(result | {"seconds": round(seconds, 3)})
        return
    click.echo(
        f"{data_dir} holds revision {result['revision']}, {result['records']} records, for {name} of cluster "
        f"{cluster_id} ({seconds:.1f} s)"
    )


@click.command()
@click.argument("backup")
@repository_options
@source_cluster_option
@key_option
@click.option(
    "--scratch",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="A directory with room for the data; what is restored in it is deleted at the end.",
)
@deadline_option("6h")
def drill(
    backup: str,
    source_cluster: str | None,
    url: str,
    options: tuple[str, ...],
    form: str,
    key_file: Path | None,
    scratch: Path,
    deadline_s: float,
    *,
    quiet: bool,
) -> None:
    """Restore BACKUP, an ID or `latest`, into a throwaway directory, open it as a node does, and compare.

    Prints the seconds that it took: the time to restore. Nothing that exists is touched.
    """
    repository, key, meter = open_repository(url, options), read_key(key_file), Meter(quiet=quiet)

    def run() -> Drilled:
        return drill_backup(
            repository, find(repository, backup, source_cluster).id, key, scratch, advance=meter.advance
        )

    drilled = within(deadline_s, "the drill", run)
    meter.finish()
    results.record(drilled._asdict())
    if form == "json":
        output.print_json(drilled._asdict())
        return
    click.echo(
        f"{drilled.id}: revision {drilled.revision} was restored and opened in {drilled.seconds:.1f} s, "
        f"{drilled.records} records, the digest is that of the manifest"
    )


COMMANDS: Final = (
    restore,
    drill,
)
