"""The Secrets of a local cluster, from the manifest: one directory each with a file per key, as a pod mounts them."""

from __future__ import annotations

import base64
import binascii
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from collectionstore_local.state.directory import DIRECTORY_MODE, ClusterDirectory, write_atomically
from collectionstore_operator.errors import FieldError
from collectionstore_operator.resource.schema import child

KIND: Final = "Secret"
BYTES_MAX: Final = 1 << 20
KEYS_MAX: Final = 64
_KEY: Final = re.compile(r"^[-._A-Za-z0-9]{1,253}$")
_FIELDS: Final = ("apiVersion", "kind", "metadata", "type", "data", "stringData", "immutable")


def contents(resource: Mapping[str, Any]) -> tuple[dict[str, bytes], list[FieldError]]:
    """Return the keys of a Secret, and what is wrong with it; no message has a value in it."""
    errors = [FieldError(child("", key), "unknown field", ", ".join(_FIELDS)) for key in resource if key not in _FIELDS]
    found: dict[str, bytes] = {}
    for name in ("data", "stringData"):
        fields = resource.get(name) or {}
        if not isinstance(fields, Mapping):
            errors.append(FieldError(name, "is not an object", "keys with their values"))
            continue
        for key, value in fields.items():
            path = child(name, key)
            if not _KEY.match(key) or set(key) == {"."}:
                errors.append(FieldError(path, "is not a valid key", "letters, digits, '-', '_' and '.'"))
            elif not isinstance(value, str):
                errors.append(FieldError(path, "is not a string", "a string, in quotes if need be"))
            else:
                _decode(name, path, key, value, found, errors)
    if len(found) > KEYS_MAX or sum(map(len, found.values())) > BYTES_MAX:
        errors.append(FieldError("data", "is too large", f"up to {KEYS_MAX} keys and {BYTES_MAX} bytes"))
    return found, errors


def _decode(name: str, path: str, key: str, value: str, found: dict[str, bytes], errors: list[FieldError]) -> None:
    try:
        found[key] = value.encode() if name == "stringData" else base64.b64decode(value, validate=True)
    except binascii.Error:
        errors.append(FieldError(path, "is not base64", "base64 in data, plain text in stringData"))


def write(directory: ClusterDirectory, name: str, keys: Mapping[str, bytes]) -> bool:
    """Write a Secret in place of one of its name; return whether it differs."""
    path = directory.secrets / name
    if read(directory, name) == keys:
        return False
    path.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    for key, value in keys.items():
        write_atomically(path / key, value)
    for old in path.iterdir():
        if old.name not in keys:
            old.unlink() if old.is_file() else shutil.rmtree(old)
    return True


def read(directory: ClusterDirectory, name: str) -> dict[str, bytes] | None:
    """Return the keys of a Secret; None if there is none of this name."""
    path = directory.secrets / name
    if not path.is_dir():
        return None
    return {one.name: one.read_bytes() for one in path.iterdir() if not one.name.startswith(".")}


def file_of(directory: ClusterDirectory, name: str, key: str) -> Path:
    """Return the file of a key, which need not exist."""
    return directory.secrets / name / key
