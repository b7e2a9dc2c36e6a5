"""Strict reading of a manifest file: every error names file, line, field and the allowed values.

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


def load(file: Path) -> Manifest:
    """Read and validate a manifest. Raises ManifestInvalid with every error, each with file and line."""
    try:
        resource, lines, errors = yaml_reader.read(_content(file))
    except yaml_reader.NotReadable as error:
        place = f"{file}:{error.line}:{error.column}" if error.line else str(file)
        raise ManifestInvalid(f"{place}: {error}\n{UNCHANGED}") from error
    if errors:
        raise ManifestInvalid(describe(file, errors, lines))
    try:
        desired = parse(resource, runtime=Runtime.LOCAL)
    except InvalidResource as error:
        raise ManifestInvalid(describe(file, error.errors, lines)) from error
    return Manifest(cast(dict[str, Any], resource), desired)


def accept(resource: dict[str, object]) -> Manifest:
    """Validate a manifest that was read already. Raises ManifestInvalid with every error."""
    try:
        return Manifest(resource, parse(resource, runtime=Runtime.LOCAL))
    except InvalidResource as error:
        raise ManifestInvalid(describe(Path("the manifest"), error.errors, {})) from error


def describe(file: Path, errors: Sequence[FieldError], lines: dict[str, int]) -> str:
    """Return the message for an invalid manifest, one paragraph per error."""
    faults = []
    for error in errors:
        line = _line_of(error.path, lines)
        place = f"{file}:{line}" if line else str(file)
        faults.append(f"{place}: {error.path or 'the document'}: {error.message}\n    allowed: {error.allowed}")
    return "\n".join([*faults, UNCHANGED])


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
