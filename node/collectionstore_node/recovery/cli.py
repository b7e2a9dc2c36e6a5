"""`collectionstore-node recover`: the recovery of a data directory by hand, where no operator does it."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from collectionstore_node.recovery.instruction import Instruction
from collectionstore_node.recovery.rewrite import BUMP_MAX, BUMP_REVISION, NewIdentity, recover


@click.command("collectionstore-node recover")
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False, exists=True), required=True)
@click.option(
    "--survivor",
    required=True,
    metavar="MEMBER/NODE-ID/CLUSTER-ID/NONCE",
    help="Whose data it must be: the member's name, its node ID and its old cluster's ID as in the file IDENTITY; and "
    "16 to 64 hexadecimal digits of your choice, the same ones when the command is repeated.",
)
@click.option("--cluster-id", required=True, help="ID of the NEW cluster.")
@click.option("--peer-address", required=True, help="host:port at which other members will reach it.")
@click.option("--client-address", required=True, help="URL at which clients will.")
@click.option(
    "--bump-revision",
    type=click.IntRange(0, BUMP_MAX),
    default=BUMP_REVISION,
    show_default=True,
    help="Add this to the revision: clients may have seen later ones than this member has.",
)
def command(
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
    click.echo(msgspec.json.encode(recover(data_dir, instruction, new)._asdict()).decode())
