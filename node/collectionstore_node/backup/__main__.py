"""`collectionstore-backup`: see `cli`."""

from __future__ import annotations

from collectionstore_node.backup.cli import main

if __name__ == "__main__":
    main()
