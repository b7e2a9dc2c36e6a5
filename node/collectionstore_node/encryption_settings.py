"""`EncryptionSettings`: which source of keys a data directory has, as the node is told."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit


class EncryptionSettings(NamedTuple):
    """Where the key is that wraps the data keys: one of three places, or none for a directory that is not encrypted."""

    keys_dir: Path | None = None
    command: tuple[str, ...] = ()
    url: str = ""
    token_file: Path | None = None
    """For `url`."""


NOT_ENCRYPTED: Final = EncryptionSettings()


def is_service_url(url: str) -> bool:
    """Return whether a service may be asked there: what is sent is a key, so not in the clear over a network."""
    parts = urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))
