"""What the commands print: results on stdout, as text or JSON; progress on stderr, a bar on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from collectionstore_node.backup.manifest import Manifest

_MIB: Final = 1 << 20
_WIDTH: Final = 30
_EVERY_S: Final = 0.2


class Meter:
    """Steps as lines, and the bytes that are done: on a terminal in one line that is drawn again."""

    def __init__(self, *, quiet: bool) -> None:
        self._tty = sys.stderr.isatty() and not quiet
        self._quiet = quiet
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._drawn = 0.0
        self.done = 0
        self.total: int | None = None
        """None while it is not known."""

    def step(self, text: str) -> None:
        """Show a step."""
        if not self._quiet:
            self._clear()
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def advance(self, count: int) -> None:
        """Count bytes; from any thread."""
        with self._lock:
            self.done += count
            now = time.monotonic()
            if self._tty and now - self._drawn >= _EVERY_S:
                self._drawn = now
                sys.stderr.write("\r\x1b[K" + self._line(now))
                sys.stderr.flush()

    def finish(self) -> float:
        """Remove the bar and return the seconds since the start."""
        self._clear()
        return time.monotonic() - self._began

    def _line(self, now: float) -> str:
        rate = self.done / _MIB / max(now - self._began, 0.001)
        amount = f"{self.done / _MIB:8.1f} MiB  {rate:6.1f} MiB/s"
        if not self.total:
            return amount
        filled = min(_WIDTH, self.done * _WIDTH // self.total)
        return f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {100 * self.done // self.total:3} %  {amount}"

    def _clear(self) -> None:
        if self._tty:
            sys.stderr.write("\r\x1b[K")


def print_json(value: object) -> None:
    """Print a value as JSON."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def print_table(rows: Sequence[Mapping[str, str]]) -> None:
    """Print rows with the same columns, aligned."""
    if not rows:
        return
    columns = list(rows[0])
    widths = [max(len(name), *(len(row[name]) for row in rows)) for name in columns]
    for cells in (columns, *([row[name] for name in columns] for row in rows)):
        sys.stdout.write(
            "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() + "\n"
        )


def print_manifest(manifest: Manifest) -> None:
    """Print what a manifest says, without its parts."""
    for name in Manifest.__struct_fields__:
        value = getattr(manifest, name)
        if name == "parts":
            value = f"{len(manifest.parts)}, {megabytes(manifest.stored_bytes)} stored"
        elif name == "encryption":
            value = "none" if value is None else f"{value.cipher}, key ID {value.key_id}"
        sys.stdout.write(f"{name.replace('_', ' '):<15} {value}\n")


def summary(manifest: Manifest) -> dict[str, Any]:
    """Return the fields of a manifest for JSON, with the number of its parts in place of them."""
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    parts = fields.pop("parts")
    return fields | {"parts": len(parts), "stored_bytes": manifest.stored_bytes}


def megabytes(size: int) -> str:
    """Return a size for people."""
    return f"{size / _MIB:.1f} MiB"
