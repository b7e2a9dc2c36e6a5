"""Strict reading of a manifest file: every error names file, line, field and the allowed values.

YAML lets the last of two equal keys win silently; here a duplicate key is an error, and so is more than one document.
The meaning of the fields is checked by `collectionstore_operator.resource`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.errors import LocalError
from collectionstore_operator.errors import FieldError, InvalidResource
from collectionstore_operator.resource.desired import Desired, Runtime, parse
from collectionstore_operator.resource.schema import child

MANIFEST_BYTES_MAX = 1 << 20


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
    root = _compose(file)
    lines: dict[str, int] = {}
    duplicates = _locate(root, "", lines)
    if duplicates:
        raise ManifestInvalid(describe(file, duplicates, lines))
    resource = yaml.SafeLoader("").construct_document(root)
    try:
        return Manifest(resource, parse(resource, runtime=Runtime.LOCAL))
    except InvalidResource as error:
        raise ManifestInvalid(describe(file, error.errors, lines)) from error


def describe(file: Path, errors: Sequence[FieldError], lines: dict[str, int]) -> str:
    """Return the message for an invalid manifest, one paragraph per error."""
    faults = []
    for error in errors:
        line = _line_of(error.path, lines)
        place = f"{file}:{line}" if line else str(file)
        faults.append(f"{place}: {error.path or 'the document'}: {error.message}\n    allowed: {error.allowed}")
    return "\n".join([*faults, "Nothing was started or changed."])


def _compose(file: Path) -> yaml.Node:
    try:
        content = file.read_bytes()
    except OSError as error:
        raise ManifestInvalid(f"cannot read {file}: {error.strerror}") from error
    if len(content) > MANIFEST_BYTES_MAX:
        raise ManifestInvalid(f"{file} has {len(content)} bytes; allowed: up to {MANIFEST_BYTES_MAX}")
    try:
        # Aliases can nest, so that a few lines expand to gigabytes: a manifest needs none, so all are rejected.
        alias = next(
            (event for event in yaml.parse(content, yaml.SafeLoader) if isinstance(event, yaml.AliasEvent)), None
        )
        if alias is not None:
            raise ManifestInvalid(
                f"{file}: the alias *{alias.anchor} is not allowed; allowed: the value itself\n"
                "Nothing was started or changed."
            )
        documents = [node for node in yaml.compose_all(content, yaml.SafeLoader) if node is not None]
    except yaml.MarkedYAMLError as error:
        raise ManifestInvalid(_describe_syntax(file, error)) from error
    except yaml.YAMLError as error:
        raise ManifestInvalid(f"{file} is not YAML: {error}\nNothing was started or changed.") from error
    if len(documents) != 1:
        raise ManifestInvalid(
            f"{file} has {len(documents)} YAML documents; allowed: exactly one, a CollectionStoreCluster\n"
            "Nothing was started or changed."
        )
    return documents[0]


def _describe_syntax(file: Path, error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    place = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
    return f"{place}: not YAML: {error.problem or error.context}\nNothing was started or changed."


def _locate(node: yaml.Node, path: str, lines: dict[str, int]) -> list[FieldError]:
    """Record in `lines` the line of every field at and below `node`; return the duplicates among them."""
    lines.setdefault(path, node.start_mark.line + 1)
    faults: list[FieldError] = []
    if isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            faults += _locate(item, f"{path}[{position}]", lines)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            place = child(path, key.value if isinstance(key, yaml.ScalarNode) else "?")
            line = key.start_mark.line + 1
            if place in seen:
                faults.append(FieldError(place, f"is set twice, in lines {seen[place]} and {line}", "each field once"))
            else:
                lines[place] = seen[place] = line
            faults += _locate(value, place, lines)
    return faults


def _line_of(path: str, lines: dict[str, int]) -> int | None:
    """Return the line of a field, or of the closest enclosing field if it is not in the file."""
    while path not in lines and path:
        path = path[: max(path.rfind("."), path.rfind("["), 0)]
    return lines.get(path)
