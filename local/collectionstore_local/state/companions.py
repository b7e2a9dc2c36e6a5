"""The documents of a manifest beside the cluster: CollectionStoreBackup, CollectionStoreBackupSchedule and Secret.

Checked before anything is written, as an API server checks them; written after the cluster.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.errors import LocalError
from collectionstore_local.state import secret_files
from collectionstore_local.state.backup_objects import KINDS as BACKUP_KINDS
from collectionstore_local.state.backup_objects import BackupObjects
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_operator.errors import FieldError, InvalidResource
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.backups import names
from collectionstore_operator.resource.backups.desired import parse_backup, parse_schedule
from collectionstore_operator.resource.desired import Runtime
from collectionstore_operator.resource.schema import child, shown, without_nulls

KINDS: Final = (*BACKUP_KINDS, secret_files.KIND)
_NAME: Final = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_NAME_MAX: Final = {
    names.BACKUP_KIND: names.BACKUP_NAME_MAX,
    names.SCHEDULE_KIND: names.SCHEDULE_NAME_MAX,
    secret_files.KIND: 63,
}
_METADATA: Final = ("name", "namespace", "labels", "annotations")


class ImmutableChanged(LocalError):
    """A field of a backup that exists would change; nothing was changed."""

    exit_code = ExitCode.INVALID_RESOURCE


@dataclass(frozen=True, slots=True)
class Companion:
    """A valid document."""

    kind: str
    name: str
    cluster: str
    """The cluster that it names; empty for a Secret."""
    body: dict[str, Any]
    keys: dict[str, bytes]
    """Of a Secret."""


class Applied(NamedTuple):
    """What became of a document: its kind and name as kubectl writes them, and the outcome."""

    what: str
    outcome: str


def companion_of(document: Mapping[str, Any]) -> Companion:
    """Return a valid document. Raises InvalidResource with every error; none has a value of a Secret in it."""
    kind = str(document["kind"])
    errors = [*_envelope(document, kind)]
    name = (document.get("metadata") or {}).get("name") if isinstance(document.get("metadata"), Mapping) else None
    keys: dict[str, bytes] = {}
    cluster = ""
    if kind == secret_files.KIND:
        keys, wrong = secret_files.contents(document)
        errors += wrong
    elif not errors:
        try:
            parse = parse_backup if kind == names.BACKUP_KIND else parse_schedule
            cluster = parse(document, Runtime.LOCAL).spec.cluster_name
        except InvalidResource as error:
            errors += error.errors
    if errors:
        raise InvalidResource(errors, generation=0)
    body = without_nulls({key: document[key] for key in ("apiVersion", "kind", "metadata", "spec") if key in document})
    if not isinstance(body, dict):
        raise TypeError("a document that was parsed is an object")
    body["metadata"].pop("namespace", None)
    return Companion(kind, str(name), cluster, body if kind != secret_files.KIND else {}, keys)


def check(directory: ClusterDirectory, companions: Iterable[Companion]) -> None:
    """Raise ImmutableChanged if a backup that exists would be another one."""
    objects = BackupObjects(directory)
    for one in companions:
        if one.kind != names.BACKUP_KIND:
            continue
        found = objects.find(one.kind, one.name)
        if found is not None and _immutable(found) != _immutable(one.body):
            raise ImmutableChanged(
                f"the {one.kind} {one.name} exists with another spec\n"
                "    allowed: a change of spec.deletionPolicy; a further backup has another name\nNothing was changed."
            )


def write(directory: ClusterDirectory, companions: Iterable[Companion]) -> list[Applied]:
    """Write the documents, the Secrets first; return what became of each."""
    objects, found = BackupObjects(directory), []
    for one in sorted(companions, key=lambda one: one.kind != secret_files.KIND):
        if one.kind == secret_files.KIND:
            was = secret_files.read(directory, one.name) is not None
            changed = secret_files.write(directory, one.name, one.keys)
            outcome = ("configured" if was else "created") if changed else "unchanged"
        else:
            outcome = objects.apply(one.body)
        found.append(Applied(f"{one.kind.lower()}/{one.name}", outcome))
    return found


def _immutable(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body["spec"].items() if key != "deletionPolicy"}


def _envelope(document: Mapping[str, Any], kind: str) -> Iterable[FieldError]:
    version = "v1" if kind == secret_files.KIND else labels.API_VERSION
    if document.get("apiVersion") != version:
        yield FieldError("apiVersion", f"{shown(document.get('apiVersion'))} is not allowed", version)
    if kind != secret_files.KIND:
        known = ("apiVersion", "kind", "metadata", "spec", "status")
        for key in document:
            if key not in known:
                yield FieldError(child("", key), "unknown field", ", ".join(known))
        if not isinstance(document.get("spec"), Mapping):
            yield FieldError("spec", "is required", "an object")
    metadata = document.get("metadata")
    if not isinstance(metadata, Mapping):
        yield FieldError("metadata", "is required", "an object with the field name")
        return
    for key in metadata:
        if key not in _METADATA:
            yield FieldError(child("metadata", key), "unknown field", ", ".join(_METADATA))
    longest = _NAME_MAX[kind]
    name = metadata.get("name")
    if not isinstance(name, str) or not _NAME.match(name) or len(name) > longest:
        allowed = f"1 to {longest} of the characters a-z, 0-9 and '-', with a letter or digit at both ends"
        yield FieldError("metadata.name", f"{shown(name)} is not a valid name", allowed)
    for key in ("labels", "annotations"):
        pairs = metadata.get(key) or {}
        if not isinstance(pairs, Mapping) or not all(isinstance(one, str) for one in pairs.values()):
            yield FieldError(f"metadata.{key}", "is not a map of strings", "keys with strings as values")
