"""The module `yaml`, of an extra: imported when it is used."""

from __future__ import annotations

from typing import Any

from collectionstore.cli.exit_codes import CommandError


def load_yaml() -> Any:
    """Return the module `yaml`. Raises CommandError."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise CommandError(
            "YAML needs the package pyyaml, which is not installed. "
            "Install it: pip install 'collectionstore[cli]', or use -o json"
        ) from error
    return yaml
