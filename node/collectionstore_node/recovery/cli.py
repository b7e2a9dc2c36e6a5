"""`collectionstore-node recover`, where no operator does it, and `adopt`, for a copy of a member's volume."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import click
import msgspec

from collectionstore_node.recovery.adoption import adopt
from collectionstore_node.recovery.instruction import Instruction
from collectionstore_node.recovery.rewrite import BUMP_MAX, BUMP_REVISION, NewIdentity, recover
from collectionstore_node.settings import InvalidSetting, encryption_settings
from collectionstore_node.storage.encryption.sources import KeySource, key_source

_NONCE: Final = re.compile(r"[0-9a-f]{16,64}")

data_dir_option = click.option(
    "--data-dir", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True
)
cluster_id_option = click.option("--cluster-id", required=True, help="ID of the NEW cluster.")
peer_address_option = click.option(
    "--peer-address", required=True, help="host:port at which other members will reach it."
)
client_address_option = click.option("--client-address", required=True, help="URL at which clients will.")
bump_revision_option = click.option(
    "--bump-revision",
    type=click.IntRange(0, BUMP_MAX),
    default=BUMP_REVISION,
    show_default=True,
    help="Add this to the revision: clients may have seen later ones than this member has.",
)


def given_source() -> KeySource | None:
    """Return the source of keys that the node's variables name, for a directory that is encrypted."""
    try:
        return key_source(encryption_settings(os.environ))
    except InvalidSetting as error:
        raise click.UsageError(str(error)) from error


@click.command("collectionstore-node recover")
@data_dir_option
@click.option(
    "--survivor",
    required=True,
    metavar="MEMBER/NODE-ID/CLUSTER-ID/NONCE",
    help="Whose data it must be: the member's name, its node ID and its old cluster's ID as in the file IDENTITY; and "
    "16 to 64 hexadecimal digits of your choice, the same ones when the command is repeated.",
)
@cluster_id_option
@peer_address_option
@client_address_option
@bump_revision_option
def recover_command(
    data_dir: Path, survivor: str, cluster_id: str, peer_address: str, client_address: str, bump_revision: int
) -> None:
    """Make the data directory of a stopped member that of a NEW cluster, whose only voter it is.

    For a cluster that has lost the disks of a majority for good. All that the member has is kept; what only the others
    had is lost. The others can never join the new cluster with their data: start them on empty directories.
    """
    try:
        instruction = Instruction.parse(survivor)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--survivor") from error
    new = NewIdentity(cluster_id, peer_address, client_address, bump_revision)
    click.echo(msgspec.json.encode(recover(data_dir, instruction, new, source=given_source())._asdict()).decode())


@click.command("collectionstore-node adopt")
@data_dir_option
@click.option("--name", required=True, help="What the member is called in the new cluster.")
@click.option(
    "--request",
    required=True,
    metavar="NONCE",
    help="16 to 64 hexadecimal digits of your choice, the same ones when the command is repeated.",
)
@cluster_id_option
@peer_address_option
@client_address_option
@bump_revision_option
def adopt_command(
    data_dir: Path,
    name: str,
    request: str,
    cluster_id: str,
    peer_address: str,
    client_address: str,
    bump_revision: int,
) -> None:
    """Make a COPY of a member's data directory that of the first member of a NEW cluster.

    For a volume that a storage system has made of a snapshot. All that the member had stored is kept. Never for the
    directory of a member itself: its cluster would lose it.
    """
    if not _NONCE.fullmatch(request):
        raise click.BadParameter("16 to 64 hexadecimal digits are allowed", param_hint="--request")
    new = NewIdentity(cluster_id, peer_address, client_address, bump_revision, name=name, keeps_epoch=False)
    click.echo(msgspec.json.encode(adopt(data_dir, request, new, source=given_source())._asdict()).decode())
