"""The commands that read a running cluster: `create` and `archive`."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from collectionstore_node.backup import output
from collectionstore_node.backup.archive import Lag, Patience, archive_log
from collectionstore_node.backup.create import Progress, create_backup
from collectionstore_node.backup.options import (
    Duration,
    deadline_option,
    key_option,
    open_repository,
    read_key,
    repository_options,
    source_options,
)
from collectionstore_node.backup.output import Meter
from collectionstore_node.backup.program import within
from collectionstore_node.backup.source import Access, Source


@click.command()
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
        output.print_json(output.summary(manifest) | {"seconds": round(seconds, 3)})
        return
    rate = manifest.stream_bytes / (1 << 20) / max(seconds, 0.001)
    click.echo(
        f"{manifest.id}: revision {manifest.revision} of {manifest.cluster_id}, {manifest.records} records, "
        f"{output.megabytes(manifest.stream_bytes)} in {seconds:.1f} s ({rate:.1f} MiB/s), "
        f"{output.megabytes(manifest.stored_bytes)} stored, read back and verified"
    )


@click.command()
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
@click.option(
    "--retry-for",
    "retry_s",
    type=Duration(),
    default="10m",
    show_default=True,
    help="Try again for so long while the cluster or the repository does not answer.",
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
    retry_s: float,
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
    patience = Patience(retry_s, Meter(quiet=quiet).step)
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
        lambda: archive_log(
            source, repository, key=key, once=once, interval_s=interval_s, report=report, patience=patience
        ),
    )
    if form == "json":
        output.print_json(_lag(lag))
    else:
        click.echo(f"archived up to {lag.archived}, {lag.applied - lag.archived} entries behind")


def _lag(lag: Lag) -> dict[str, int]:
    return {"archived_index": lag.archived, "applied_index": lag.applied, "lag_entries": lag.applied - lag.archived}


COMMANDS: Final = (
    create,
    archive,
)
