"""The archive of a report: a .tar.gz, readable by its owner alone, with a manifest of what is in it and what is not."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from collectionstore_local.report.items import ITEM_BYTES_MAX, Item
from collectionstore_local.report.redaction import Redactor

MANIFEST: Final = "manifest.json"


class Included(msgspec.Struct, frozen=True):
    """A file that is in the archive; `redactions` were made in it."""

    path: str
    source: str
    bytes: int
    sha256: str
    redactions: int
    cut: bool
    """Whether only the end of it is there."""


class Missing(msgspec.Struct, frozen=True):
    """A file that could not be had."""

    path: str
    source: str
    reason: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a report, and what is not. `created` is UTC (RFC 3339)."""

    cluster: str
    place: str
    created: str
    csctl: str
    included: list[Included]
    missing: list[Missing]

    @property
    def redactions(self) -> int:
        """How many secrets were taken out."""
        return sum(one.redactions for one in self.included)


class Archive:
    """Collects redacted files and writes them with their manifest. A context manager: a failure leaves no file."""

    def __init__(self, path: Path, *, root: str, modified: float, redactor: Redactor) -> None:
        """Begin `path`, which must not exist; all files lie below the folder `root`. `modified` in Unix seconds."""
        self.path = path
        self._root = root
        self._modified = modified
        self._redactor = redactor
        self._included: list[Included] = []
        self._missing: list[Missing] = []

    def __enter__(self) -> Archive:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._packed = gzip.GzipFile(fileobj=self._file, mode="wb", filename="", mtime=self._modified)
        self._tar = tarfile.open(fileobj=self._packed, mode="w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()
        self._packed.close()
        self._file.close()
        if error is not None:
            self.path.unlink(missing_ok=True)

    def add(self, item: Item, content: bytes) -> None:
        """Put a file in, redacted; of what is too long only the end."""
        cut = len(content) > ITEM_BYTES_MAX
        before = self._redactor.count
        redacted = self._redact(item, content[-ITEM_BYTES_MAX:])
        self._write(item.path, redacted)
        digest, redactions = hashlib.sha256(redacted).hexdigest(), self._redactor.count - before
        self._included.append(Included(item.path, item.source, len(redacted), digest, redactions, cut))

    def missing(self, item: Item, reason: str) -> None:
        """Write down that a file could not be had."""
        self._missing.append(Missing(item.path, item.source, self._redactor.text(reason)))

    def finish(self, *, cluster: str, place: str, created: str, csctl: str) -> Manifest:
        """Put the manifest in and return it."""
        manifest = Manifest(
            cluster=cluster,
            place=place,
            created=created,
            csctl=csctl,
            included=self._included,
            missing=self._missing,
        )
        text = json.dumps(msgspec.to_builtins(manifest), indent=2, ensure_ascii=False)
        self._write(MANIFEST, text.encode() + b"\n")
        return manifest

    def _redact(self, item: Item, content: bytes) -> bytes:
        match item.shape:
            case "json":
                return self._redactor.json(content)
            case "lines":
                return self._redactor.lines(content)
            case "text":
                return self._redactor.text(content.decode(errors="replace")).encode()

    def _write(self, path: str, content: bytes) -> None:
        entry = tarfile.TarInfo(f"{self._root}/{path}")
        entry.size, entry.mode, entry.mtime = len(content), 0o600, int(self._modified)
        self._tar.addfile(entry, io.BytesIO(content))
