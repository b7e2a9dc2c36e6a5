"""The commands that look after what is stored: `list`, `inspect`, `verify`, `delete`, `prune`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from collectionstore_node.backup import output, results
from collectionstore_node.backup.commands.choosing import find
from collectionstore_node.backup.errors import NotFound, Refused
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.options import (
    Duration,
    deadline_option,
    key_option,
    open_repository,
    read_key,
    repository_options,
    source_cluster_option,
)
from collectionstore_node.backup.output import Meter
from collectionstore_node.backup.program import within
from collectionstore_node.backup.pruning import Rules, prune_repository
from collectionstore_node.backup.retention import would_delete_last
from collectionstore_node.backup.stored import (
    delete_backup,
    list_backups,
    look,
    read_manifest,
    started,
)
from collectionstore_node.backup.verify import verify_backup

UNFINISHED_MIN_S: Final = 3600.0
"""What is younger and has no manifest may be a backup that is being made."""


@click.command("list")
@repository_options
@deadline_option("5m")
def list_all(url: str, options: tuple[str, ...], form: str, deadline_s: float, *, quiet: bool) -> None:
    """List the backups, the oldest first, and what interrupted runs left behind."""
    repository = open_repository(url, options)
    found = within(deadline_s, "the list", lambda: list_backups(repository))
    if form == "json":
        output.print_json(
            [
                {"id": one.id, "complete": one.manifest is not None, "problem": one.problem}
                | (output.summary(one.manifest) if one.manifest is not None else {})
                for one in found
            ]
        )
        return
    rows = []
    for one in found:
        manifest = one.manifest
        state = "complete" if manifest is not None else one.problem or "unfinished"
        rows.append(
            {
                "ID": one.id,
                "CLUSTER": manifest.cluster_id if manifest is not None else "",
                "REVISION": str(manifest.revision) if manifest is not None else "",
                "STORED": output.megabytes(manifest.stored_bytes) if manifest is not None else "",
                "KEY": manifest.encryption.key_id if manifest is not None and manifest.encryption else "",
                "STATE": state,
            }
        )
    output.print_table(rows)
    if not rows and not quiet:
        click.echo(f"{url} holds no backups.", err=True)


@click.command()
@click.argument("backup")
@repository_options
@source_cluster_option
@deadline_option("1m")
def inspect(
    backup: str,
    source_cluster: str | None,
    url: str,
    options: tuple[str, ...],
    form: str,
    deadline_s: float,
    *,
    quiet: bool,
) -> None:
    """Show the manifest of BACKUP, an ID or `latest`; its data is not read."""
    repository = open_repository(url, options)

    def read() -> Manifest:
        return read_manifest(repository, find(repository, backup, source_cluster).id)[1]

    manifest = within(deadline_s, "reading the manifest", read)
    if form == "json":
        output.print_json(manifest)
    else:
        output.print_manifest(manifest)


@click.command()
@click.argument("backup")
@repository_options
@source_cluster_option
@key_option
@deadline_option("6h")
def verify(
    backup: str,
    source_cluster: str | None,
    url: str,
    options: tuple[str, ...],
    form: str,
    key_file: Path | None,
    deadline_s: float,
    *,
    quiet: bool,
) -> None:
    """Read all of BACKUP, an ID or `latest`, and verify every byte, every record and the digest of the state."""
    repository, key, meter = open_repository(url, options), read_key(key_file), Meter(quiet=quiet)

    def check() -> Manifest:
        found = find(repository, backup, source_cluster)
        meter.total = found.stream_bytes
        return verify_backup(repository, found.id, key, meter.advance)

    manifest = within(deadline_s, "the verification", check)
    seconds = meter.finish()
    if form == "json":
        output.print_json(output.summary(manifest) | {"verified": True, "seconds": round(seconds, 3)})
    else:
        click.echo(f"{manifest.id}: {manifest.records} records of revision {manifest.revision} are intact")


@click.command()
@click.argument("backup")
@repository_options
@click.option("--last", "allow_last", is_flag=True, help="Also the only intact one of its cluster.")
@deadline_option("30m")
def delete(
    backup: str,
    url: str,
    options: tuple[str, ...],
    form: str,
    deadline_s: float,
    *,
    quiet: bool,
    allow_last: bool,
) -> None:
    """Delete BACKUP, by its ID."""
    repository = open_repository(url, options)

    def remove() -> int:
        started(backup)
        listed = list_backups(repository)
        if backup not in {one.id for one in listed}:
            raise NotFound(f"there is no backup {backup!r} in {url}")
        if not allow_last and would_delete_last([look(repository, one) for one in listed], backup):
            raise Refused(f"{backup} is the only intact backup of its cluster; to delete it all the same: --last")
        return delete_backup(repository, backup)

    count = within(deadline_s, "the deletion", remove)
    results.record({"id": backup, "objects": count})
    if form == "json":
        output.print_json({"id": backup, "objects": count})
    else:
        click.echo(f"{backup} is deleted.")


@click.command()
@repository_options
@click.option("--keep-last", type=click.IntRange(min=1), default=7, show_default=True, help="Of each cluster.")
@click.option(
    "--keep-within",
    "keep_within_s",
    type=Duration(),
    default="0s",
    show_default=True,
    help="Keep all that are younger.",
)
@click.option(
    "--unfinished-after",
    "unfinished_after_s",
    type=Duration(min_s=UNFINISHED_MIN_S),
    default="1d",
    show_default=True,
    help="What has no manifest after this time is left over, and is deleted; 1h or more, and more than a backup takes.",
)
@click.option(
    "--source-cluster", metavar="ID", help="Judge the backups of this cluster only, and keep those of all others."
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted, and delete nothing.")
@deadline_option("1h")
def prune(
    url: str,
    options: tuple[str, ...],
    form: str,
    keep_last: int,
    keep_within_s: float,
    unfinished_after_s: float,
    source_cluster: str | None,
    deadline_s: float,
    *,
    quiet: bool,
    dry_run: bool,
) -> None:
    """Delete the backups that neither rule keeps, what interrupted runs left, and the archived log that no backup
    needs that stays. The last intact one of each cluster always stays."""
    repository = open_repository(url, options)

    rules = Rules(keep_last, keep_within_s, unfinished_after_s, source_cluster)
    pruned = within(
        deadline_s, "pruning", lambda: prune_repository(repository, rules, datetime.now(UTC), dry_run=dry_run)
    )
    decided = pruned.backups._asdict()
    log = {"segments": pruned.segments, "log_kept": pruned.log_kept}
    results.record({name: len(ids) for name, ids in decided.items()} | log)
    if form == "json":
        output.print_json(decided | log | {"dry_run": dry_run})
        return
    verb = "would be deleted" if dry_run else "deleted"
    for backup_id in decided["delete"]:
        click.echo(f"{backup_id} {verb}")
    for backup_id in decided["leftovers"]:
        click.echo(f"{backup_id} {verb}: unfinished")
    for backup_id in decided["damaged"]:
        click.echo(f"{backup_id} is damaged, and kept: verify it, then delete it by its ID", err=True)
    if pruned.segments:
        click.echo(f"{pruned.segments} segments of the log {verb}: they end before the oldest backup")
    if pruned.log_kept:
        click.echo(f"the log is kept: {pruned.log_kept}", err=True)
    click.echo(f"{len(decided['keep'])} kept")


COMMANDS: Final = (
    list_all,
    inspect,
    verify,
    delete,
    prune,
)
