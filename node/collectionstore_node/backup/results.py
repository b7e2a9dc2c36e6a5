"""The result of a command for a program that started it: a small file of JSON, such as a termination message.

Kubernetes keeps 4096 bytes of it, so it is bounded. It holds no secret and no document: messages of errors do not.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

VARIABLE: Final = "COLLECTIONSTORE_BACKUP_RESULT_FILE"
BYTES_MAX: Final = 4_096
MESSAGE_MAX: Final = 1_000
"""Characters; each may become six bytes of JSON only in a message that no command writes."""


def record(value: Mapping[str, object]) -> None:
    """Write a result, if a file is named. Raises `ValueError` for a result that Kubernetes would cut."""
    name = os.environ.get(VARIABLE)
    if not name:
        return
    data = msgspec.json.encode(dict(value))
    if len(data) > BYTES_MAX:
        raise ValueError(f"the result has {len(data)} bytes; allowed are {BYTES_MAX}")
    Path(name).write_bytes(data)


def record_failure(reason: str, message: str, exit_code: int) -> None:
    """Write why a command failed; it fails all the same if that cannot be written, which is no failure of its own."""
    shortened = message if len(message) <= MESSAGE_MAX else message[: MESSAGE_MAX - 3] + "..."
    text = shortened.encode("ascii", "replace").decode()
    try:
        record({"reason": reason, "message": text, "exit_code": exit_code})
    except OSError as error:
        os.write(2, f"collectionstore-backup: the result cannot be written: {error.strerror}\n".encode())
