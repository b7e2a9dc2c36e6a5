"""Reads the one CollectionStoreCluster in a file, strictly: what YAML has beyond JSON is refused, with the place."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from collectionstore.cli.yaml_reader import load_yaml
from collectionstore.operate.access import Object, ResourceInvalid

FILE_BYTES_MAX: Final = 1 << 20
KIND: Final = "CollectionStoreCluster"


def load_manifest(file: Path) -> Object:
    """Return the manifest in a file, or of stdin for `-`. Raises ResourceInvalid with what is allowed."""
    yaml = load_yaml()
    with click.open_file(str(file), encoding="utf-8") as stream:
        text = stream.read(FILE_BYTES_MAX + 1)
    if len(text) > FILE_BYTES_MAX:
        raise ResourceInvalid(f"{file} is too large\n    allowed: {FILE_BYTES_MAX} characters")
    try:
        # An alias lets a short file stand for any amount of data.
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise ResourceInvalid(f"{file} has a YAML alias (*)\n    allowed: the value written out")
        documents = [one for one in yaml.load_all(text, _strict(yaml)) if one is not None]
    except yaml.YAMLError as error:
        raise ResourceInvalid(f"{file} is not YAML: {error}") from error
    if len(documents) != 1 or not isinstance(documents[0], dict) or documents[0].get("kind") != KIND:
        raise ResourceInvalid(f"{file}\n    allowed: one document, a {KIND}")
    manifest: Object = documents[0]
    for key in ("spec", "metadata"):
        if not isinstance(manifest.get(key) or {}, dict):
            raise ResourceInvalid(f"{file}: {key} is not an object\n    allowed: an object")
    if not isinstance((manifest.get("metadata") or {}).get("name"), str):
        raise ResourceInvalid(f"{file}: metadata.name is missing\n    allowed: the name of the cluster")
    return manifest


def _strict(yaml: Any) -> Any:
    """Return a loader that refuses a key that comes twice: one of the values would be ignored without a word."""

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # the package is imported when it is used
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 -- the base class's
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            twice = next((key for key in keys if keys.count(key) > 1), None)
            if twice is not None:
                raise yaml.constructor.ConstructorError(None, None, f"the key {twice!r} comes twice", node.start_mark)
            return super().construct_mapping(node, deep)

    return Loader
