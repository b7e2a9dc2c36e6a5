"""The commands of `collectionstore-backup`: parse the arguments, run one within its deadline, print."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from collectionstore_node import __version__
from collectionstore_node.backup import output
from collectionstore_node.backup.create import Progress, create_backup
from collectionstore_node.backup.errors import InvalidUse, NotFound, Refused
from collectionstore_node.backup.manifest import Manifest
from collectionstore_node.backup.output import Meter
from collectionstore_node.backup.program import failure, within
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.restore import NewMember, restore_directory
from collectionstore_node.backup.retention import prune as decide
from collectionstore_node.backup.retention import would_delete_last
from collectionstore_node.backup.sealing import parse_key
from collectionstore_node.backup.selection import LATEST, choose_backup
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

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """A duration such as 30s, 10m, 24h or 7d, in seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r}; allowed: a number and s, m, h or d, such as 30d", param, ctx)
        return float(found[1]) * _UNITS[found[2]]


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


def repository_options(command: F) -> F:
    """Add the options of every command."""
    for option in (
        click.option(
            "--repository",
            "url",
            required=True,
            metavar="URL",
            envvar="COLLECTIONSTORE_BACKUP_REPOSITORY",
            show_envvar=True,
            help="Where the backups are.",
        ),
        click.option(
            "--option",
            "options",
            multiple=True,
            metavar="NAME=VALUE",
            help="A setting of the object store, such as endpoint=https://minio:9000 or region=eu-west-1; repeatable.",
        ),
        click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
    ):
        command = option(command)
    return command


def deadline_option(default: str) -> Callable[[F], F]:
    """Return the option of a command's deadline."""
    return click.option(
        "--deadline",
        "deadline_s",
        type=Duration(),
        default=default,
        show_default=True,
        help="The command fails when it takes longer.",
    )


key_option = click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="COLLECTIONSTORE_BACKUP_KEY_FILE",
    show_envvar=True,
    help="File with the key, 64 hexadecimal digits: the backups are encrypted with it.",
)


def _path_option(name: str, text: str) -> Callable[[F], F]:
    variable = f"COLLECTIONSTORE_BACKUP_{name.strip('-').replace('-', '_').upper()}"
    return click.option(name, type=click.Path(path_type=Path, dir_okay=False), envvar=variable, help=text)


def source_options(command: F) -> F:
    """Add the options that say which cluster is read, and as whom."""
    for option in (
        click.option(
            "--endpoint",
            "endpoints",
            multiple=True,
            required=True,
            metavar="URL",
            envvar="COLLECTIONSTORE_BACKUP_ENDPOINTS",
            show_envvar=True,
            help="Client URL of a member; repeatable. The other members are found through it.",
        ),
        _path_option("--token-file", "File with the admin token, for a cluster without client TLS."),
        _path_option("--ca-file", "Certificates of the authority that signed those of the members."),
        _path_option("--cert-file", "The operator's client certificate."),
        _path_option("--cert-key-file", "Its private key."),
    ):
        command = option(command)
    return command


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
    repository = _repository(url, options)
    source = Source(endpoints, Access(token_file, ca_file, cert_file, cert_key_file))
    key = _key(key_file)
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
    repository = _repository(url, options)
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
    repository = _repository(url, options)

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
    repository, key, meter = _repository(url, options), _key(key_file), Meter(quiet=quiet)

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
    repository = _repository(url, options)

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
    repository = _repository(url, options)

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
    bump_revision: int,
    deadline_s: float,
    *,
    quiet: bool,
) -> None:
    """Make the data directory of the first member of a NEW cluster from BACKUP: an ID, `latest`, or
    `revision:N` for the newest one that is not of a later revision.

    A node that starts on it leads the cluster alone; other members join as usual. Nothing is ever restored over data.
    """
    repository, key, meter = _repository(url, options), _key(key_file), Meter(quiet=quiet)
    member = NewMember(cluster_id, name, peer_address, client_address)

    def run() -> dict[str, Any]:
        found = _find(repository, backup)
        manifest, sealer = open_backup(repository, found.id, key)
        meter.total = manifest.stream_bytes
        meter.step(f"restoring {manifest.id}, revision {manifest.revision} of {manifest.cluster_id}")
        restored = restore_directory(
            repository, manifest, sealer, data_dir, member, bump_revision=bump_revision, advance=meter.advance
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


def _find(repository: Repository, wanted: str) -> Manifest:
    if wanted != LATEST and not wanted.startswith("revision:"):
        started(wanted)
        return read_manifest(repository, wanted)[1]
    return choose_backup([one.manifest for one in list_backups(repository) if one.manifest is not None], wanted)


def _repository(url: str, options: tuple[str, ...]) -> Repository:
    given = {}
    for one in options:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise InvalidUse("--option takes NAME=VALUE, such as endpoint=https://minio:9000")
        given[name] = value
    return Repository(url, given)


def _key(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return parse_key(path.read_bytes(), f"--key-file {path}")
    except OSError as error:
        raise InvalidUse(f"--key-file {path}: {error.strerror}") from None


def _result(manifest: Manifest) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    parts = fields.pop("parts")
    return fields | {"parts": len(parts), "stored_bytes": manifest.stored_bytes}
