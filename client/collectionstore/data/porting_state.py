"""What an interrupted import or export needs to go on: a file of its own, deleted once all is done.

`$XDG_STATE_HOME/collectionstore` (`~/.local/state` without the variable). It holds names, sizes and counts alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import uuid
from pathlib import Path
from typing import Final

import msgspec

from collectionstore.cli.exit_codes import CommandError, ExitCode

HEAD_BYTES: Final = 1 << 16
FILE_BYTES_MAX: Final = 1 << 20


class StateInvalid(CommandError):
    """The state of an earlier run does not fit; the text says why, and how to begin anew."""

    exit_code = ExitCode.REFUSED


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file was when its import began: another one must not go on under the same keys."""

    path: str
    size: int
    modified_ns: int
    head: str
    """SHA-256 of its first 64 KiB."""


class ImportState(msgspec.Struct, forbid_unknown_fields=True):
    """How far an import has got; `key` is its Idempotency-Key, under which no batch is applied twice."""

    source: Source
    place: str
    collection: str
    options: dict[str, str]
    key: str
    lines: int = 0
    inserted: int = 0
    replaced: int = 0
    skipped: int = 0
    failed: int = 0


class ExportState(msgspec.Struct, forbid_unknown_fields=True):
    """How far an export has got: `bytes` of the part file hold `count` whole lines up to the document `after`."""

    place: str
    collection: str
    options: dict[str, str]
    revision: int
    after: str
    count: int
    bytes: int


def state_home() -> Path:
    """Return the folder of states and histories; it need not exist."""
    root = os.environ.get("XDG_STATE_HOME") or ""
    base = Path(root) if Path(root).is_absolute() else Path("~/.local/state").expanduser()
    return base / "collectionstore"


def import_path(source: str, place: str, collection: str) -> Path:
    """Return where the state of an import is: one for each file, cluster and collection."""
    name = hashlib.sha256("\0".join((source, place, collection)).encode()).hexdigest()[:32]
    return state_home() / "imports" / f"{name}.json"


def describe(path: Path) -> Source:
    """Return what a file is now. Raises OSError."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        head = hashlib.sha256(file.read(HEAD_BYTES)).hexdigest()
    return Source(str(path.absolute()), status.st_size, status.st_mtime_ns, head)


def new_key() -> str:
    """Return a key for an import."""
    return f"csctl-import-{uuid.uuid4()}"


def read_import(path: Path) -> ImportState | None:
    """Return the state of an earlier run, None if there is none. Raises StateInvalid."""
    content = _read(path)
    try:
        return None if content is None else msgspec.json.decode(content, type=ImportState)
    except msgspec.DecodeError as error:
        raise StateInvalid(f"{path} cannot be read: {error}. To begin anew: --restart") from error


def read_export(path: Path) -> ExportState | None:
    """Return the state of an earlier run, None if there is none. Raises StateInvalid."""
    content = _read(path)
    try:
        return None if content is None else msgspec.json.decode(content, type=ExportState)
    except msgspec.DecodeError as error:
        raise StateInvalid(f"{path} cannot be read: {error}. To begin anew: --restart") from error


def write(path: Path, state: ImportState | ExportState) -> None:
    """Replace a state file, of mode 0600. Raises OSError."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(msgspec.json.encode(state))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise


def forget(path: Path) -> None:
    """Delete a state file, if there is one."""
    path.unlink(missing_ok=True)


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
