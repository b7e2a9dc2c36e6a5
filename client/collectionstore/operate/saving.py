"""The verbs for the data: backup, restore, recover."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Command
from collectionstore.cli.exit_codes import CommandError
from collectionstore.cli.terminal import Progress
from collectionstore.kubernetes import names
from collectionstore.kubernetes.api_server import ApiServer
from collectionstore.operate import goals, views
from collectionstore.operate.access import Object, WaitTimedOut, member_name
from collectionstore.operate.goals import condition, status_of
from collectionstore.operate.kubernetes_access import KubernetesAccess, refusals
from collectionstore.operate.local_plugin import run_local
from collectionstore.operate.looking import DOCUMENTS
from collectionstore.operate.manifest import load_manifest
from collectionstore.operate.options import Place, place_options, wait_options, yes_option
from collectionstore.operate.output import output_option, print_document, printable, result_console
from collectionstore.operate.waiting import POLL_S, wait_for

LATEST: Final = "latest"


class BackupFailed(CommandError):
    """The backup failed; the text has the reason that the operator gives."""


class NothingToRecover(CommandError):
    """The quorum is not lost, or it changed since it was looked at; nothing was changed."""


@click.command("backup", cls=Command, short_help="Back up a cluster once.")
@click.argument("cluster")
@click.option("--repository", "url", required=True, metavar="URL", help="s3://, gs://, az:// or file://.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the store, such as endpoint.")
@click.option("--credentials-secret", metavar="NAME", help="Secret with the credentials of the store.")
@click.option("--encryption-secret", metavar="NAME", help="Secret with the key that encrypts the backup.")
@click.option("--claim", metavar="NAME", help="PersistentVolumeClaim of a file:// repository.")
@click.option("--name", help="Name of the CollectionStoreBackup. [default: CLUSTER-TIME]")
@wait_options(3_600)
@place_options
def backup(
    cluster: str,
    url: str,
    options: tuple[str, ...],
    credentials_secret: str | None,
    encryption_secret: str | None,
    claim: str | None,
    name: str | None,
    timeout_s: float,
    place: Place,
    *,
    wait: bool,
) -> None:
    """Back up a cluster once: create a CollectionStoreBackup, and wait until it is complete and verified.

    Credentials stay in Secrets; none is taken from the command line. With --local it is csctl backup create: of the
    options it gets --repository and --option, and others are refused.

    \b
    Examples:
      kubectl collectionstore backup demo --repository s3://backups/demo --credentials-secret store
      kubectl collectionstore backup demo --local --repository ./backups
    """
    if not place.kubernetes:
        refuse_given(
            "csctl backup create",
            *("credentials_secret", "encryption_secret", "claim", "name", "timeout_s"),
            *(() if wait else ("wait",)),
        )
        words = ["create", "--repository", url, "--cluster", cluster, "--state-dir", str(place.state_dir)]
        run_local("backup", [*words, *(word for one in options for word in ("--option", one))])
        return
    repository = repository_of(url, options, credentials_secret, encryption_secret, claim)
    with place.server() as server:
        access = KubernetesAccess(server, place.namespace or server.namespace, cluster)
        access.read()  # a backup of a cluster that does not exist would wait for ever
        body = backup_resource(cluster, repository, name or f"{cluster}-{_compact_now()}")
        made = access.create(names.BACKUP_KIND, body)
        click.echo(f"collectionstorebackup/{made['metadata']['name']} created")
        if wait:
            click.echo(_wait_for_backup(server, place, made, timeout_s))


def refuse_given(local: str, *parameters: str) -> None:
    """Raise UsageError for those of these parameters that the user gave; `local` is the command that takes none."""
    options = {one.name: (*one.secondary_opts, *one.opts)[0] for one in click.get_current_context().command.params}
    named = [options[one] for one in parameters if _given(one)]
    if named:
        raise click.UsageError(
            f"{', '.join(named)} cannot be given for a cluster of this machine; what can: {local} --help"
        )


def _given(parameter: str) -> bool:
    return click.get_current_context().get_parameter_source(parameter) is not ParameterSource.DEFAULT


def repository_of(
    url: str, options: Sequence[str], credentials: str | None, encryption: str | None, claim: str | None
) -> Object:
    """Return `spec.repository`. Raises UsageError for an option that is not KEY=VALUE."""
    pairs = {}
    for one in options:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise click.UsageError(f"--option is {one!r}; allowed: KEY=VALUE, such as endpoint=https://store:9000")
        pairs[key] = value
    found: Object = {"url": url}
    if pairs:
        found["options"] = pairs
    if credentials:
        found["credentialsSecretName"] = credentials
    if encryption:
        found["encryptionKey"] = {"secretName": encryption}
    if claim:
        found["claimName"] = claim
    return found


def backup_resource(cluster: str, repository: Object, name: str) -> Object:
    """Return a CollectionStoreBackup."""
    return {
        "apiVersion": names.BACKUPS.api_version,
        "kind": names.BACKUP_KIND,
        "metadata": {"name": name},
        "spec": {"clusterName": cluster, "repository": repository},
    }


def backup_outcome(found: Mapping[str, Any]) -> str:
    """Return the line about a complete backup, empty while it runs. Raises BackupFailed."""
    status = status_of(found)
    name = found["metadata"]["name"]
    failed = condition(found, "Failed")
    if failed.get("status") == "True":
        raise BackupFailed(f"the backup {name} failed: {failed.get('reason')}: {failed.get('message')}")
    if condition(found, "Complete").get("status") != "True":
        return ""
    size = int(status.get("sizeBytes") or 0) / (1 << 20)
    return (
        f"{name} is complete: backup {status.get('backupID')} of {status.get('member')}, revision "
        f"{status.get('revision')}, {size:.1f} MiB in {status.get('durationSeconds', 0)} s"
    )


def _wait_for_backup(server: ApiServer, place: Place, made: Object, timeout_s: float) -> str:
    path = names.BACKUPS.path(place.namespace or server.namespace, made["metadata"]["name"])
    with Progress() as progress:
        deadline = time.monotonic() + timeout_s
        while True:
            with refusals("cannot read the backup"):
                found = server.get_object(path)
            outcome = backup_outcome(found)
            if outcome:
                return outcome
            message = str(status_of(found).get("message") or "waiting for the operator to start the backup")
            if time.monotonic() > deadline:
                raise WaitTimedOut(f"timed out after {timeout_s:g} s waiting for the backup. It goes on.\n  {message}")
            progress.waiting(message)
            time.sleep(POLL_S)


@click.command("restore", cls=Command, short_help="Make a new cluster of a backup.")
@click.argument("cluster")
@click.option("--from-backup", metavar="NAME", help="A CollectionStoreBackup in the namespace.")
@click.option("--repository", "url", metavar="URL", help="The repository, instead of --from-backup.")
@click.option("--backup", "backup_id", default=LATEST, show_default=True, metavar="ID", help="Which backup of it.")
@click.option("-f", "--filename", "file", type=click.Path(path_type=Path, dir_okay=False), help="Manifest of CLUSTER.")
@wait_options(1_800)
@place_options
def restore(
    cluster: str,
    from_backup: str | None,
    url: str | None,
    backup_id: str,
    file: Path | None,
    timeout_s: float,
    place: Place,
    *,
    wait: bool,
) -> None:
    """Make a NEW cluster of a backup: create the resource CLUSTER with spec.bootstrap.restore.

    What exists is never touched. With --local it is csctl restore.

    \b
    Examples:
      kubectl collectionstore restore copy --from-backup demo-20260102 -f copy.yaml
      kubectl collectionstore restore copy --local --repository ./backups
    """
    if (from_backup is None) == (url is None):
        raise click.UsageError("name the backup by one of --from-backup and --repository")
    if not place.kubernetes:
        if url is None:
            raise click.UsageError("a local cluster is restored from --repository")
        refuse_given("csctl restore", *(() if wait else ("wait",)))
        words = [*([backup_id] if backup_id != LATEST else []), "--from", url, "--name", cluster]
        words += ["-f", str(file)] if file else []
        words += ["--timeout", str(timeout_s)] if _given("timeout_s") else []
        run_local("restore", [*words, "--state-dir", str(place.state_dir)])
        return
    manifest = load_manifest(file) if file else {}
    with place.server() as server:
        namespace = place.namespace or server.namespace
        source: Object = {"repository": {"url": url}, "backup": backup_id}
        if from_backup is not None:
            with refusals(f"cannot read the backup {from_backup}"):
                found = server.get_object(names.BACKUPS.path(namespace, from_backup))
            source = restore_source(found)
        access = KubernetesAccess(server, namespace, cluster)
        made = access.create(names.CLUSTER_KIND, restored_resource(cluster, manifest, source))
        click.echo(f"collectionstorecluster/{cluster} created")
        if wait:
            click.echo(wait_for(access, made, goals.ready, what=f"{cluster} to be Ready", timeout_s=timeout_s))


def restore_source(found: Mapping[str, Any]) -> Object:
    """Return `spec.bootstrap.restore` for a complete backup. Raises BackupFailed."""
    if not backup_outcome(found):
        raise BackupFailed(f"the backup {found['metadata']['name']} is not complete yet")
    return {"repository": found["spec"]["repository"], "backup": status_of(found)["backupID"]}


def restored_resource(cluster: str, manifest: Mapping[str, Any], source: Object) -> Object:
    """Return the resource of a new cluster; `manifest` may be empty, and has the same name if it is not."""
    named = (manifest.get("metadata") or {}).get("name", cluster)
    if named != cluster:
        raise click.UsageError(f"the manifest is of {named}, not of {cluster}")
    spec = {**(manifest.get("spec") or {}), "bootstrap": {"restore": source}}
    kind = {"apiVersion": names.CLUSTERS.api_version, "kind": names.CLUSTER_KIND}
    return {**kind, "metadata": {**(manifest.get("metadata") or {}), "name": cluster}, "spec": spec}


@click.command("recover", cls=Command, short_help="Recover from a lost quorum, guided.")
@click.argument("cluster")
@click.option("--survivor", metavar="MEMBER", help="The member whose data the cluster goes on with.")
@yes_option
@output_option
@wait_options(900)
@place_options
def recover(
    cluster: str, survivor: str | None, output: str, timeout_s: float, place: Place, *, yes: bool, wait: bool
) -> None:
    """Recover from a lost quorum: show what is left, then go on with one survivor.

    Without --survivor nothing is changed: the survivors are shown, the best first, with what would be lost. With it,
    the survivor forms the cluster anew, once, under a new identity; writes that only the lost members had are lost. The
    nonce of the status goes with the request, so that what was looked at is what is acted on.

    \b
    Examples:
      kubectl collectionstore recover demo
      kubectl collectionstore recover demo --survivor demo-1
    """
    with place.open(cluster) as access:
        before = access.read()
        found = status_of(before).get("recovery") or {}
        if found.get("phase") in (None, "", "Finished"):
            raise NothingToRecover(f"{access.name}: the operator reports no lost quorum, there is nothing to recover")
        if survivor is None:
            if output in DOCUMENTS:
                print_document(found, output)
                return
            console = result_console()
            console.print(views.recovery_view(printable(found), width=console.width))
            if found.get("nonce"):
                click.echo(f"To go on with one of them: recover {access.name} --survivor MEMBER")
            return
        if found["phase"] != "Offered":
            raise NothingToRecover(f"{access.name}: no recovery is offered now: {found['phase']}")
        name = member_name(before, survivor)
        candidates = [one.get("name") for one in found.get("survivors") or ()]
        if name not in candidates:
            raise NothingToRecover(f"{name} is not among the survivors: {', '.join(map(str, candidates)) or 'none'}")
        confirm(
            f"Form {access.name} anew of {name} alone? What only the lost members had is lost, and they cannot return.",
            yes=yes,
        )
        access.change({"spec": {"recovery": {"nonce": found["nonce"], "survivor": name}}})
        click.echo(f"{access.name}: recovery with {name} requested")
        if wait:
            click.echo(wait_for(access, before, goals.recovered, what="the recovery", timeout_s=timeout_s))


def _compact_now() -> str:
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S")
