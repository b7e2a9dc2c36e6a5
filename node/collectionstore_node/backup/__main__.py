"""`collectionstore-backup`: see `cli`."""

from __future__ import annotations

import sys

from collectionstore_node.backup.priority import lower_priority


def main() -> None:
    """Run the command; at a lower priority, unless it is a restore, which ends an outage."""
    if sys.argv[1:2] != ["restore"]:
        # BEFORE any thread, and before what there is to import, which takes longest of all at one go: compression and
        # hashes take what processors have left, clients of a member come first.
        lower_priority()
    from collectionstore_node.backup import cli

    cli.main()


if __name__ == "__main__":
    main()
