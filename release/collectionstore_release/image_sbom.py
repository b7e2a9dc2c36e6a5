"""The bill of materials of an image: its Debian packages and Python distributions, from its OCI archive.

CycloneDX 1.5. Read from the layers themselves, so that it says what is in the image and not what should be.
"""

from __future__ import annotations

import email.parser
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

DPKG: Final = "var/lib/dpkg/status"
DPKG_PARTS: Final = "var/lib/dpkg/status.d/"
"""One file a package, in images without dpkg."""
_METADATA: Final = re.compile(r"(^|/)([^/]+)\.dist-info/METADATA$")
_WHITEOUT: Final = ".wh."
MEMBER_BYTES_MAX: Final = 64 << 20


class NoImage(Exception):
    """A file is no OCI archive that can be read; the text says why."""


def sbom(archive: Path, name: str) -> dict[str, Any]:
    """Return the bill of materials of the image in an OCI archive. Raises NoImage."""
    found: dict[str, dict[str, str]] = {}
    for path, content in _files(archive):
        matched = _METADATA.search(path)
        if path == DPKG or path.startswith(DPKG_PARTS):
            # A later layer has the whole file again.
            if path == DPKG:
                found = {key: one for key, one in found.items() if not key.startswith("pkg:deb/")}
            found |= {one["purl"]: one for one in debian_packages(content.decode(errors="replace"))}
        elif matched:
            one = _distribution(content.decode(errors="replace"))
            found[one["purl"]] = one
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "container", "name": name}},
        "components": [{"type": "library", **found[key]} for key in sorted(found)],
    }


def debian_packages(text: str) -> list[dict[str, str]]:
    """Return the installed packages of a dpkg status file."""
    packages = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" ")
        )
        # Without a status: a file of an image without dpkg.
        if {"Package", "Version"} <= fields.keys() and fields.get("Status", "ok installed").endswith("ok installed"):
            name, version = fields["Package"], fields["Version"]
            architecture = fields.get("Architecture", "all")
            packages.append(
                {"name": name, "version": version, "purl": f"pkg:deb/debian/{name}@{version}?arch={architecture}"}
            )
    return packages


def _distribution(text: str) -> dict[str, str]:
    fields = email.parser.HeaderParser().parsestr(text)
    name, version = str(fields["Name"]), str(fields["Version"])
    normalized = re.sub(r"[-_.]+", "-", name).lower()
    return {"name": name, "version": version, "purl": f"pkg:pypi/{normalized}@{version}"}


def _files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the files that matter of every layer, the lowest first; what a layer above removes may be among them."""
    try:
        with tarfile.open(archive) as outer:
            index = json.loads(_member(outer, "index.json"))
            manifest = json.loads(_blob(outer, index["manifests"][0]["digest"]))
            for layer in manifest["layers"]:
                with tarfile.open(fileobj=io.BytesIO(_blob(outer, layer["digest"]))) as inner:
                    for one in inner:
                        path = one.name.removeprefix("./").lstrip("/")
                        wanted = path == DPKG or path.startswith(DPKG_PARTS) or _METADATA.search(path)
                        if not one.isfile() or not wanted or one.size > MEMBER_BYTES_MAX or _WHITEOUT in path:
                            continue
                        content = inner.extractfile(one)
                        if content is not None:
                            yield path, content.read()
    except (OSError, tarfile.TarError, KeyError, IndexError, ValueError) as error:
        raise NoImage(f"{archive} is no OCI archive: {type(error).__name__}: {error}") from None


def _blob(outer: tarfile.TarFile, name: str) -> bytes:
    algorithm, _, value = name.partition(":")
    return _member(outer, f"blobs/{algorithm}/{value}")


def _member(outer: tarfile.TarFile, name: str) -> bytes:
    try:
        found = outer.extractfile(name)
    except KeyError:
        found = outer.extractfile(f"./{name}")
    if found is None:
        raise KeyError(name)
    return found.read()
