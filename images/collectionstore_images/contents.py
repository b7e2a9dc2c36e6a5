"""What an image contains above its base: the wheels of this repository, and the locked dependencies."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from collectionstore_testkit.tools import wheels


@dataclass(frozen=True, slots=True)
class Part:
    """A distribution: how many files it installs, their bytes, and for a wheel of ours its own bytes."""

    name: str
    files: int
    installed_bytes: int
    wheel_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of one image above its base."""

    kind: str
    own: Sequence[Part]
    dependencies: Sequence[Part]


def of(kind: str) -> Contents:
    """Build the wheels of `kind` and install its dependencies into a temporary folder to measure them.

    Raises ToolError.
    """
    package = f"collectionstore-{kind}"
    with tempfile.TemporaryDirectory() as folder:
        own = [_wheel(path) for path in wheels.build(package, Path(folder) / "dist")]
        site = Path(folder) / "site"
        wheels.install(wheels.requirements(package), site)
        return Contents(kind, own, [_installed(record) for record in sorted(site.glob("*.dist-info/RECORD"))])


def table(images: Sequence[Contents]) -> list[str]:
    """Return the lines to print."""
    return [line for one in images for line in _lines(one)]


def _lines(one: Contents) -> Iterator[str]:
    yield f"collectionstore-{one.kind}"
    for part in one.own:
        yield (f"  {part.name:44} {part.files:5} files {part.installed_bytes:11,} B, wheel {part.wheel_bytes:9,} B")
    yield _sum("all wheels of this repository", one.own)
    for part in sorted(one.dependencies, key=lambda part: -part.installed_bytes):
        yield f"  {part.name:44} {part.files:5} files {part.installed_bytes:11,} B"
    yield _sum(f"all {len(one.dependencies)} dependencies", one.dependencies)


def _sum(what: str, parts: Sequence[Part]) -> str:
    files, size = sum(part.files for part in parts), sum(part.installed_bytes for part in parts)
    return f"  {what:44} {files:5} files {size:11,} B"


def _wheel(path: Path) -> Part:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    name, version, *_ = path.name.split("-")
    return Part(f"{name} {version}", len(entries), sum(one.file_size for one in entries), path.stat().st_size)


def _installed(record: Path) -> Part:
    site = record.parents[1]
    # Each line is path,hash,size; scripts lie outside of the folder and have no part in an image.
    paths = [site / line.rpartition(",")[0].rpartition(",")[0].strip('"') for line in record.read_text().splitlines()]
    files = [path for path in paths if path.is_file()]
    name, _, version = record.parent.name.removesuffix(".dist-info").rpartition("-")
    return Part(f"{name} {version}", len(files), sum(path.stat().st_size for path in files))
