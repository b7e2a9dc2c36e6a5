"""A process whose disk is full: `python -m collectionstore_node.tests.storage.full_disk DIR COUNT`.

It stores COUNT entries with their state, syncing each, and goes on after the disk has become full, until an error stops
it. Prints as JSON the last index that was acknowledged and the error. COUNT -1 opens the directory on a disk that is
full already.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from collectionstore_node.errors import Fatal
from collectionstore_node.tests.storage.entries import apply, extend, hard_state, open_database
from collectionstore_node.tests.storage.failing_disk import fill_disk

ATTEMPTS = 1_000
"""More than any buffer between here and the disk could hide."""
ENTRY_BYTES = 8 << 10


def main(directory: Path, count: int) -> dict[str, Any]:
    """Return what was acknowledged and what stopped it."""
    last = 0
    try:
        if count < 0:
            fill_disk()
        database = open_database(directory)
        last = database.log.last_index()
        for number in range(ATTEMPTS):
            if number == count:
                fill_disk()
            index = last + 1
            extend(database, index, size=ENTRY_BYTES)
            database.log.append((), hard_state(1, commit=index))
            database.log.sync()
            last = index
            apply(database, index, {b"%06d" % index: b"%d" % index})
    except Fatal as error:
        return {"acknowledged": last, "error": type(error).__name__, "text": str(error)}
    return {"acknowledged": last, "error": "", "text": ""}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]).resolve(), int(sys.argv[2]))))
    sys.stdout.flush()
    # As a node does: nothing more may be written on the way out.
    os._exit(0)
