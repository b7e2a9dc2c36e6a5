"""The commands that read a running cluster: `create` and `archive`."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import Final

import click

from collectionstore_node.backup import output, results
from collectionstore_node.backup.archive import Patience, archive_log
from collectionstore_node.backup.archive_lag import Lag
from collectionstore_node.backup.archive_status import served
from collectionstore_node.backup.create import Progress, Run, create_backup
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.options import (
    Connection,
    Duration,
    connection_options,
    deadline_option,
    expected_cluster_option,
    parse_run,
)
from collectionstore_node.backup.output import Meter
from collectionstore_node.backup.pacing import RATE_MIN, Pace
from collectionstore_node.backup.program import within


@click.command()
@connection_options
@expected_cluster_option
@click.option(
    "--stale",
    is_flag=True,
    help="Also without a quorum: what the member has applied, which may lack acknowledged writes.",
)
@click.option(
    "--run",
    "run_name",
    metavar="TIME-NUMBER",
    help="Make one backup however often the command is repeated: the complete one whose ID ends with NUMBER (8 "
    "hexadecimal digits) and is not older than TIME (20260102T030405Z), if there is one already.",
)
@click.option(
    "--max-bytes-per-second",
    "limit",
    type=click.IntRange(min=RATE_MIN),
    metavar="BYTES",
    envvar="COLLECTIONSTORE_BACKUP_MAX_BYTES_PER_SECOND",
    show_envvar=True,
    help=f"Read the member no faster, before compression; {RATE_MIN} or more. Without it, as fast as the member gives: "
    "less while its clients would notice.",
)
@deadline_option("6h")
def create(
    connection: Connection,
    *,
    expected: str | None,
    stale: bool,
    run_name: str | None,
    limit: int | None,
    deadline_s: float,
) -> None:
    """Make a backup of a follower, and verify it.

    It holds everything that was acknowledged before the command began. The leader is read only if no follower can be.
    """
    run: Run | None = None if run_name is None else parse_run(run_name)
    meter = Meter(quiet=connection.quiet)
    manifest = within(
        deadline_s,
        "the backup",
        lambda: create_backup(
            connection.source,
            connection.repository,
            key=connection.key,
            expected_cluster=expected,
            stale=stale,
            progress=Progress(meter.step, meter.advance),
            run=run,
            pace=None if limit is None else Pace(limit),
        ),
    )
    seconds = meter.finish()
    results.record(_result(manifest) | {"seconds": round(seconds, 3)})
    if connection.as_json:
        output.print_json(output.summary(manifest) | {"seconds": round(seconds, 3)})
        return
    rate = manifest.stream_bytes / (1 << 20) / max(seconds, 0.001)
    click.echo(
        f"{manifest.id}: revision {manifest.revision} of {manifest.cluster_id}, {manifest.records} records, "
        f"{output.megabytes(manifest.stream_bytes)} in {seconds:.1f} s ({rate:.1f} MiB/s), "
        f"{output.megabytes(manifest.stored_bytes)} stored, read back and verified"
    )


@click.command()
@connection_options
@expected_cluster_option
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
@click.option(
    "--status-address",
    metavar="HOST:PORT",
    help="Serve how far the archive is as JSON over HTTP at this address.",
)
@deadline_option("36500d")
def archive(
    connection: Connection,
    *,
    expected: str | None,
    once: bool,
    interval_s: float,
    retry_s: float,
    status_address: str | None,
    deadline_s: float,
) -> None:
    """Archive the log behind the newest backup, for restores to a point in time; runs until it is stopped.

    Prints how far it is, and how far the cluster is, whenever it has stored something.
    """
    with served(status_address) if status_address is not None else nullcontext() as status:
        patience = Patience(retry_s, Meter(quiet=connection.quiet).step)
        shown: list[int] = []

        def report(lag: Lag) -> None:
            if status is not None:
                status.tell(lag)
            if shown[-1:] == [lag.archived] or once:
                return
            shown[:] = [lag.archived]
            if connection.as_json:
                output.print_json(lag.described(time.monotonic()))
            elif not connection.quiet:
                click.echo(_shown(lag))

        lag = within(
            deadline_s,
            "the archive",
            lambda: archive_log(
                connection.source,
                connection.repository,
                key=connection.key,
                expected_cluster=expected,
                once=once,
                interval_s=interval_s,
                report=report,
                patience=patience,
            ),
        )
    if connection.as_json:
        output.print_json(lag.described(time.monotonic()))
    else:
        click.echo(_shown(lag))


def _shown(lag: Lag) -> str:
    told = lag.described(time.monotonic())
    return f"archived up to {lag.archived}, {told['lag_entries']} entries and {told['lag_seconds']:.1f} s behind"


def _result(manifest: Manifest) -> dict[str, object]:
    """Return what is said of a backup in the result file."""
    return {
        "id": manifest.id,
        "cluster_id": manifest.cluster_id,
        "member": manifest.member,
        "from_leader": manifest.from_leader,
        "term": manifest.term,
        "index": manifest.applied_index,
        "revision": manifest.revision,
        "state_digest": manifest.state_digest,
        "stored_bytes": manifest.stored_bytes,
        "stream_bytes": manifest.stream_bytes,
        "started_at": manifest.started_at,
        "finished_at": manifest.finished_at,
    }


COMMANDS: Final = (
    create,
    archive,
)
