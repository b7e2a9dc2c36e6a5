"""The archive of a report: a .tar.gz that only its owner can read, with a manifest of its files."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from collectionstore.report.items import ITEM_BYTES_MAX, Item
from collectionstore.report.redaction import Redactor

MANIFEST: Final = "manifest.json"


@dataclass(frozen=True, slots=True)
class Included:
    """A file in the archive, in which `redactions` secrets were replaced."""

    path: str
    source: str
    bytes: int
    sha256: str
    redactions: int
    cut: bool
    """Whether the file was too long, so that only its end is in the archive."""


@dataclass(frozen=True, slots=True)
class Missing:
    """An item that could not be gathered."""

    path: str
    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The files of a report and the missing items. `created` is UTC (RFC 3339)."""

    cluster: str
    place: str
    created: str
    csctl: str
    included: list[Included]
    missing: list[Missing]

    @property
    def redactions(self) -> int:
        """Return how many secrets were removed."""
        return sum(one.redactions for one in self.included)

    def as_json(self) -> dict[str, Any]:
        """Return the content of manifest.json."""
        return dataclasses.asdict(self)


class Archive:
    """Redacts files and writes them with their manifest. A context manager: a failure leaves no file behind."""

    def __init__(self, path: Path, *, root: str, modified: float, redactor: Redactor) -> None:
        """Write to `path`, which must not exist; all files are below the folder `root`. `modified` in Unix seconds."""
        self.path = path
        self._root = root
        self._modified = modified
        self._redactor = redactor
        self._included: list[Included] = []
        self._missing: list[Missing] = []

    def __enter__(self) -> Archive:
        # O_EXCL: never replaces a file. 0600 from the first byte: redaction is best effort, so others must not read it.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb")
        self._gzip = gzip.GzipFile(fileobj=self._file, mode="wb", filename="", mtime=self._modified)
        self._tar = tarfile.open(fileobj=self._gzip, mode="w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._tar.close()
        self._gzip.close()
        self._file.close()
        if error is not None:
            self.path.unlink(missing_ok=True)

    def add(self, item: Item, content: bytes) -> None:
        """Redact a file and add it; of one longer than ITEM_BYTES_MAX only the end."""
        cut = len(content) > ITEM_BYTES_MAX
        before = self._redactor.count
        redacted = self._redact(item, content[-ITEM_BYTES_MAX:])
        self._write(item.path, redacted)
        digest, redactions = hashlib.sha256(redacted).hexdigest(), self._redactor.count - before
        self._included.append(Included(item.path, item.source, len(redacted), digest, redactions, cut))

    def add_missing(self, item: Item, reason: str) -> None:
        """List an item in the manifest that could not be gathered."""
        self._missing.append(Missing(item.path, item.source, self._redactor.text(reason)))

    def finish(self, *, cluster: str, place: str, created: str, csctl: str) -> Manifest:
        """Add the manifest and return it."""
        manifest = Manifest(
            cluster=cluster,
            place=place,
            created=created,
            csctl=csctl,
            included=self._included,
            missing=self._missing,
        )
        text = json.dumps(manifest.as_json(), indent=2, ensure_ascii=False)
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
