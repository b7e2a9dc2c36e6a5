"""Makes the data directory of a node from a backup, then becomes the node: as an init container and a container.

`python -m collectionstore_local.backups.restored_start -- NODE COMMAND`, with an `Order` in the environment. It may be
repeated: the program recognizes what it has made for the same request, and holds the lock of the directory.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec

from collectionstore_local.backups.program import PREFIX, PROGRAM
from collectionstore_local.processes.node_process import SEPARATOR
from collectionstore_local.state import secret_files
from collectionstore_local.state.directory import ClusterDirectory, write_atomically
from collectionstore_operator.model.observed import Preparation

VARIABLE: Final = "COLLECTIONSTORE_LOCAL_RESTORE"
MESSAGE_MAX: Final = 500
COMMAND: Final = (sys.executable, "-P", "-m", "collectionstore_local.backups.restored_start", SEPARATOR)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is restored. It holds no secret: only the names of those that the program gets."""

    cluster: str
    """The directory of the cluster."""
    failure: str
    """The file that says how it has failed last."""
    arguments: tuple[str, ...]
    credentials: str | None = None


def main() -> None:
    """Restore, and become the node; end with the code of the program if it fails."""
    order = msgspec.json.decode(os.environ.pop(VARIABLE), type=Order)
    failure = Path(order.failure)
    found = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    if order.credentials is not None:
        keys = secret_files.read(ClusterDirectory(Path(order.cluster)), order.credentials)
        if keys is None:
            missing = f"the Secret {order.credentials} is not there; add it to the manifest (kind: Secret) and apply it"
            _fail(failure, None, missing)
        found |= {name: value.decode(errors="surrogateescape") for name, value in (keys or {}).items()}
    with subprocess.Popen(
        [*PROGRAM, "restore", *order.arguments], env=found, stdout=sys.stderr, stderr=subprocess.PIPE, text=True
    ) as program:
        # The supervisor stops this process alone.
        signal.signal(signal.SIGTERM, lambda *_: program.terminate())
        _, said = program.communicate()
    sys.stderr.write(said)
    if program.returncode:
        last = next((one for one in reversed(said.splitlines()) if one.strip()), "")
        _fail(failure, program.returncode if program.returncode > 0 else 128 - program.returncode, last)
    failure.unlink(missing_ok=True)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    command = sys.argv[sys.argv.index(SEPARATOR) + 1 :] if SEPARATOR in sys.argv else sys.argv[1:]
    os.execvpe(command[0], command, os.environ)


def _fail(file: Path, code: int | None, message: str) -> None:
    preparation = Preparation(exit_code=code, message=message[:MESSAGE_MAX])
    write_atomically(file, msgspec.json.encode(preparation), durable=False)
    sys.exit(1 if code is None else code)


if __name__ == "__main__":
    main()
