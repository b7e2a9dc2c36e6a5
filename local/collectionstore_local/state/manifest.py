"""Strict reading of a manifest file: every error names file, line, field and the allowed values.

A manifest has a CollectionStoreCluster, and what belongs to it: backups, schedules, and the Secrets that they name.
What YAML has beyond JSON is refused by `yaml_reader`; the meaning of the fields is checked by
`collectionstore_operator.resource`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.errors import LocalError
from collectionstore_local.state import yaml_reader
from collectionstore_local.state.companions import KINDS, Companion, companion_of
from collectionstore_local.state.yaml_reader import Document
from collectionstore_operator.errors import FieldError, InvalidResource
from collectionstore_operator.resource.desired import Desired, Runtime, parse

MANIFEST_BYTES_MAX = 1 << 20
UNCHANGED = "Nothing was started or changed."


class ManifestInvalid(LocalError):
    """The manifest is invalid; the text lists every error. Nothing was started or changed."""

    exit_code = ExitCode.INVALID_RESOURCE


@dataclass(frozen=True, slots=True)
class Manifest:
    """A valid manifest: its content as written, and as parsed."""

    resource: dict[str, object]
    desired: Desired
    companions: tuple[Companion, ...] = ()


def load(file: Path) -> Manifest:
    """Read and validate a manifest. Raises ManifestInvalid with every error, each with file and line."""
    resource, desired, companions = _read(file)
    if resource is None or desired is None:
        raise ManifestInvalid(f"{file}: there is no CollectionStoreCluster in it\n{UNCHANGED}")
    return Manifest(resource, desired, companions)


def load_companions(file: Path) -> tuple[Companion, ...] | None:
    """Return the documents of a manifest that has no cluster; None if it has one. Raises ManifestInvalid."""
    resource, _, companions = _read(file)
    return companions if resource is None else None


def accept(resource: dict[str, object]) -> Manifest:
    """Validate a manifest that was read already. Raises ManifestInvalid with every error."""
    try:
        return Manifest(resource, parse(resource, runtime=Runtime.LOCAL))
    except InvalidResource as error:
        raise ManifestInvalid(describe(Path("the manifest"), error.errors, {})) from error


def describe(file: Path, errors: Sequence[FieldError], lines: dict[str, int]) -> str:
    """Return the message for an invalid manifest, one paragraph per error."""
    return "\n".join([*_faults(file, errors, lines), UNCHANGED])


def _read(file: Path) -> tuple[dict[str, object] | None, Desired | None, tuple[Companion, ...]]:
    try:
        documents = yaml_reader.read(_content(file))
    except yaml_reader.NotReadable as error:
        place = f"{file}:{error.line}:{error.column}" if error.line else str(file)
        raise ManifestInvalid(f"{place}: {error}\n{UNCHANGED}") from error
    faults: list[str] = []
    clusters: list[tuple[dict[str, object], Desired]] = []
    companions: list[Companion] = []
    for document in documents:
        try:
            _sort(document, clusters, companions)
        except InvalidResource as error:
            faults += _faults(file, error.errors, document.lines)
    faults += _between(file, clusters, companions)
    if faults:
        raise ManifestInvalid("\n".join([*faults, UNCHANGED]))
    resource, desired = clusters[0] if clusters else (None, None)
    return resource, desired, tuple(companions)


def _sort(document: Document, clusters: list[tuple[dict[str, object], Desired]], companions: list[Companion]) -> None:
    """Parse a document into one of both lists. Raises InvalidResource."""
    if document.errors:
        raise InvalidResource(document.errors, generation=0)
    value = document.value
    if isinstance(value, dict) and value.get("kind") in KINDS:
        companions.append(companion_of(value))
    else:
        # Whatever it is: the message says what a cluster has.
        clusters.append((cast(dict[str, Any], value), parse(value, runtime=Runtime.LOCAL)))


def _between(
    file: Path, clusters: Sequence[tuple[dict[str, object], Desired]], companions: Sequence[Companion]
) -> list[str]:
    """Return what is wrong between documents that are right by themselves."""
    found = []
    if len(clusters) > 1:
        named = ", ".join(desired.name for _, desired in clusters)
        found.append(f"{file}: {len(clusters)} CollectionStoreClusters ({named})\n    allowed: one in a file")
    names = [f"{one.kind} {one.name}" for one in companions]
    twice = sorted({one for one in names if names.count(one) > 1})
    found += [f"{file}: two documents are the {one}\n    allowed: one" for one in twice]
    own = {desired.name for _, desired in clusters} or {one.cluster for one in companions if one.cluster}
    if len(clusters) <= 1 and len(own) > 1:
        found.append(f"{file}: the documents are of several clusters: {', '.join(sorted(own))}\n    allowed: one")
    foreign = [one for one in companions if one.cluster and one.cluster not in own]
    if len(clusters) == 1:
        found += [
            f"{file}: spec.clusterName of the {one.kind} {one.name} is {one.cluster}\n    allowed: {', '.join(own)}"
            for one in foreign
        ]
    return found


def _faults(file: Path, errors: Sequence[FieldError], lines: dict[str, int]) -> list[str]:
    found = []
    for error in errors:
        line = _line_of(error.path, lines)
        place = f"{file}:{line}" if line else str(file)
        found.append(f"{place}: {error.path or 'the document'}: {error.message}\n    allowed: {error.allowed}")
    return found


def _content(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            # One byte more than is allowed: the size of a pipe or a device is not known before it is read.
            content = opened.read(MANIFEST_BYTES_MAX + 1)
    except OSError as error:
        raise ManifestInvalid(f"cannot read {file}: {error.strerror}") from error
    if len(content) > MANIFEST_BYTES_MAX:
        raise ManifestInvalid(f"{file} has more than {MANIFEST_BYTES_MAX} bytes; allowed: up to {MANIFEST_BYTES_MAX}")
    return content


def _line_of(path: str, lines: dict[str, int]) -> int | None:
    """Return the line of a field, or of the closest enclosing field if it is not in the file."""
    while path not in lines and path:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)
