"""`collectionstore-backup`: see `cli`."""

from __future__ import annotations

import os
import sys

from collectionstore_node.backup import cli

NICENESS = 10


def main() -> None:
    """Run the command; at a lower priority, unless it is a restore, which ends an outage."""
    if sys.argv[1:2] != ["restore"]:
        # Compression and hashes take what processors have left: beside a member, its clients come first.
        os.nice(NICENESS)
    cli.main()


if __name__ == "__main__":
    main()
