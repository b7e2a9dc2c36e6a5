"""The commands of `collectionstore-backup`: parse the arguments, run one within its deadline, print."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from collectionstore_node import __version__
from collectionstore_node.backup import output
from collectionstore_node.backup.archive import Lag, archive_log
from collectionstore_node.backup.create import Progress, create_backup
from collectionstore_node.backup.errors import NotFound, Refused
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.options import (
    Duration,
    deadline_option,
    key_option,
    open_repository,
    parse_point,
    read_key,
    repository_options,
    source_options,
)
from collectionstore_node.backup.output import Meter
from collectionstore_node.backup.program import failure, within
from collectionstore_node.backup.replay import Target, replay_log
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.restore import NewMember, restore_directory
from collectionstore_node.backup.retention import prune as decide
from collectionstore_node.backup.retention import would_delete_last
from collectionstore_node.backup.selection import LATEST, choose_backup, choose_for_time
from collectionstore_node.backup.source import Access, Source
from collectionstore_node.backup.stored import (
    delete_backup,
    list_backups,
    look,
    open_backup,
    read_manifest,
    started,
)
from collectionstore_node.backup.verify import verify_backup

HELP: Final = """Back up a Collection Store cluster, and restore it as a new one.

A repository is a URL: s3://bucket/path, gs://bucket/path, az://account/container/path, or a directory. Credentials come
from the environment, by the names that the provider's own tools use, such as AWS_ACCESS_KEY_ID.

\b
Examples:
  collectionstore-backup create --repository s3://backups/shop --endpoint http://127.0.0.1:7400
  collectionstore-backup list --repository s3://backups/shop
  collectionstore-backup verify latest --repository s3://backups/shop
  collectionstore-backup prune --repository s3://backups/shop --keep-last 7 --keep-within 30d
  collectionstore-backup restore latest --repository s3://backups/shop --data-dir /data \\
      --cluster-id shop-2 --name shop-2-0 --peer-address 127.0.0.1:7411 --client-address http://127.0.0.1:7410

\b
Exit codes:
  0 done                      6 the deadline passed
  1 failed, or is full        7 refused: it would destroy or mix data
  2 wrong usage               8 corrupt: not what was written
  5 no such backup            9 credentials or key are not accepted
                              10 the cluster or the repository does not answer
"""


class Group(click.Group):
    """Turns what goes wrong into a message and the exit code of its kind."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException:
            raise
        except Exception as error:
            explained = failure(error)
            if explained is None:
                raise
            raise _Failure(*explained) from error


class _Failure(click.ClickException):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self._code = int(code)

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has a class variable here
        return self._code


@click.group(cls=Group, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="collectionstore-backup")
def main() -> None:
    """Run the group; the commands do the work."""


@main.command()
@source_options
@repository_options
@key_option
@click.option("--cluster-id", "expected", help="Refuse to back up a cluster of another ID.")
@click.option(
    "--stale",
    is_flag=True,
    help="Also without a quorum: what the member has applied, which may lack acknowledged writes.",
)
@deadline_option("6h")
def create(
    endpoints: tuple[str, ...],
    token_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    cert_key_file: Path | None,
    url: str,
    options: tuple[str, ...],
    form: str,
    key_file: Path | None,
    expected: str | None,
    deadline_s: float,
    *,
    quiet: bool,
    stale: bool,
) -> None:
    """Make a backup of a follower, and verify it.

    It holds everything that was acknowledged before the command began. The leader is read only if no follower can be.
    """
    repository = open_repository(url, options)
    source = Source(endpoints, Access(token_file, ca_file, cert_file, cert_key_file))
    key = read_key(key_file)
    meter = Meter(quiet=quiet)
    manifest = within(
        deadline_s,
        "the backup",
        lambda: create_backup(
            source,
            repository,
            key=key,
            expected_cluster=expected,
            stale=stale,
            progress=Progress(meter.step, meter.advance),
        ),
    )
    seconds = meter.finish()
    if form == "json":
        output.print_json(_result(manifest) | {"seconds": round(seconds, 3)})
        return
    rate = manifest.stream_bytes / (1 << 20) / max(seconds, 0.001)
    click.echo(
        f"{manifest.id}: revision {manifest.revision} of {manifest.cluster_id}, {manifest.records} records, "
        f"{output.megabytes(manifest.stream_bytes)} in {seconds:.1f} s ({rate:.1f} MiB/s), "
        f"{output.megabytes(manifest.stored_bytes)} stored, read back and verified"
    )


@main.command("list")
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
                | (_result(one.manifest) if one.manifest is not None else {})
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


@main.command()
@click.argument("backup")
@repository_options
@deadline_option("1m")
def inspect(backup: str, url: str, options: tuple[str, ...], form: str, deadline_s: float, *, quiet: bool) -> None:
    """Show the manifest of BACKUP, an ID or `latest`; its data is not read."""
    repository = open_repository(url, options)

    def read() -> Manifest:
        return read_manifest(repository, _find(repository, backup).id)[1]

    manifest = within(deadline_s, "reading the manifest", read)
    if form == "json":
        output.print_json(manifest)
    else:
        output.print_manifest(manifest)


@main.command()
@click.argument("backup")
@repository_options
@key_option
@deadline_option("6h")
def verify(
    backup: str,
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
        found = _find(repository, backup)
        meter.total = found.stream_bytes
        return verify_backup(repository, found.id, key, meter.advance)

    manifest = within(deadline_s, "the verification", check)
    seconds = meter.finish()
    if form == "json":
        output.print_json(_result(manifest) | {"verified": True, "seconds": round(seconds, 3)})
    else:
        click.echo(f"{manifest.id}: {manifest.records} records of revision {manifest.revision} are intact")


@main.command()
@click.argument("backup")
@repository_options
@click.option("--last", "allow_last", is_flag=True, help="Delete it also if it is the only intact backup.")
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
            raise Refused(f"{backup} is the only intact backup; to delete it all the same: --last")
        return delete_backup(repository, backup)

    count = within(deadline_s, "the deletion", remove)
    if form == "json":
        output.print_json({"id": backup, "objects": count})
    else:
        click.echo(f"{backup} is deleted.")


@main.command()
@repository_options
@click.option("--keep-last", type=click.IntRange(min=1), default=7, show_default=True, help="Keep this many.")
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
    type=Duration(),
    default="1d",
    show_default=True,
    help="What has no manifest after this time is left over, and is deleted.",
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
    deadline_s: float,
    *,
    quiet: bool,
    dry_run: bool,
) -> None:
    """Delete the backups that neither rule keeps, and what interrupted runs left. The last intact one always stays."""
    repository = open_repository(url, options)

    def run() -> dict[str, list[str]]:
        found = [look(repository, one) for one in list_backups(repository)]
        decided = decide(
            found,
            datetime.now(UTC),
            keep_last=keep_last,
            keep_within_s=keep_within_s,
            unfinished_after_s=unfinished_after_s,
        )
        for backup_id in () if dry_run else (*decided.delete, *decided.leftovers):
            delete_backup(repository, backup_id)
        return decided._asdict()

    decided = within(deadline_s, "pruning", run)
    if form == "json":
        output.print_json(decided | {"dry_run": dry_run})
        return
    verb = "would be deleted" if dry_run else "deleted"
    for backup_id in decided["delete"]:
        click.echo(f"{backup_id} {verb}")
    for backup_id in decided["leftovers"]:
        click.echo(f"{backup_id} {verb}: unfinished")
    for backup_id in decided["damaged"]:
        click.echo(f"{backup_id} is damaged, and kept: verify it, then delete it by its ID", err=True)
    click.echo(f"{len(decided['keep'])} kept")


@main.command()
@click.argument("backup")
@repository_options
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
@deadline_option("6h")
def restore(
    backup: str,
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
    deadline_s: float,
    *,
    quiet: bool,
) -> None:
    """Make the data directory of the first member of a NEW cluster from BACKUP: an ID, `latest`, or
    `revision:N` for the newest one that is not of a later revision.

    A node that starts on it leads the cluster alone; other members join as usual. Nothing is ever restored over data.
    """
    repository, key, meter = open_repository(url, options), read_key(key_file), Meter(quiet=quiet)
    member = NewMember(cluster_id, name, peer_address, client_address)

    def run() -> dict[str, Any]:
        target = None if goal is None else parse_point(goal)
        found = _find(repository, backup if target is None or backup != LATEST else _base(goal or "", target))
        manifest, sealer = open_backup(repository, found.id, key)
        replay = None if target is None else partial(replay_log, repository, manifest, key, target)
        meter.total = manifest.stream_bytes
        meter.step(f"restoring {manifest.id}, revision {manifest.revision} of {manifest.cluster_id}")
        restored = restore_directory(
            repository,
            manifest,
            sealer,
            data_dir,
            member,
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


@main.command()
@source_options
@repository_options
@key_option
@click.option("--once", is_flag=True, help="End when the archive has caught up.")
@click.option(
    "--interval",
    "interval_s",
    type=Duration(),
    default="1s",
    show_default=True,
    help="Store what there is at least this often: the bound of what a disaster can lose.",
)
@deadline_option("36500d")
def archive(
    endpoints: tuple[str, ...],
    token_file: Path | None,
    ca_file: Path | None,
    cert_file: Path | None,
    cert_key_file: Path | None,
    url: str,
    options: tuple[str, ...],
    form: str,
    key_file: Path | None,
    interval_s: float,
    deadline_s: float,
    *,
    quiet: bool,
    once: bool,
) -> None:
    """Archive the log behind the newest backup, for restores to a point in time; runs until it is stopped.

    Prints how far it is, and how far the cluster is, whenever it has stored something.
    """
    repository = open_repository(url, options)
    source = Source(endpoints, Access(token_file, ca_file, cert_file, cert_key_file))
    key = read_key(key_file)
    shown: list[int] = []

    def report(lag: Lag) -> None:
        if shown[-1:] == [lag.archived] or once:
            return
        shown[:] = [lag.archived]
        if form == "json":
            output.print_json(_lag(lag))
        elif not quiet:
            click.echo(f"archived up to {lag.archived}, {lag.applied - lag.archived} entries behind")

    lag = within(
        deadline_s,
        "the archive",
        lambda: archive_log(source, repository, key=key, once=once, interval_s=interval_s, report=report),
    )
    if form == "json":
        output.print_json(_lag(lag))
    else:
        click.echo(f"archived up to {lag.archived}, {lag.applied - lag.archived} entries behind")


def _lag(lag: Lag) -> dict[str, int]:
    return {"archived_index": lag.archived, "applied_index": lag.applied, "lag_entries": lag.applied - lag.archived}


def _base(goal: str, target: Target) -> str:
    """Return which backup a replay to `target` begins at."""
    if target.revision is not None:
        return f"revision:{target.revision}"
    return LATEST if target.time_ms is None else f"before:{goal}"


def _find(repository: Repository, wanted: str) -> Manifest:
    if wanted != LATEST and not wanted.startswith(("revision:", "before:")):
        started(wanted)
        return read_manifest(repository, wanted)[1]
    known = [one.manifest for one in list_backups(repository) if one.manifest is not None]
    if wanted.startswith("before:"):
        return choose_for_time(known, wanted.removeprefix("before:"))
    return choose_backup(known, wanted)


def _result(manifest: Manifest) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    parts = fields.pop("parts")
    return fields | {"parts": len(parts), "stored_bytes": manifest.stored_bytes}
