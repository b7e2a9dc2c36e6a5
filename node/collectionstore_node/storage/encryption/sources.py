"""Where the key is that wraps the data keys: a directory of files, a command, or a service. It is never stored here.

A source wraps a data key, which makes it worth nothing without the source, and unwraps it at every start.
"""

from __future__ import annotations

import base64
import binascii
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from collectionstore_node.encryption_settings import EncryptionSettings
from collectionstore_node.errors import DataDirectoryRefused
from collectionstore_node.storage.encryption.key_files import KeyFiles

ANSWER_S: Final = 30.0
"""How long a command or a service may take."""
ANSWER_BYTES_MAX: Final = 16 << 10


class Wrapped(NamedTuple):
    """A data key that only its source can open."""

    key_id: str
    """Which key of the source it takes; empty where the source knows that itself."""
    data: bytes


class KeySource(Protocol):
    """A source. Every method blocks, and raises `DataDirectoryRefused` with what to do."""

    def current(self) -> str | None:
        """Return the ID of the key that wraps now; None where the source does not say."""

    def wrap(self, key: bytes) -> Wrapped:
        """Wrap a data key."""

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the data key."""


class DirectoryOfKeys:
    """Files that each hold a key, as a mounted Secret: the name is its ID, and the last name in order wraps.

    A key is 32 bytes, or 64 hexadecimal digits. It wraps by AES key wrap (RFC 3394), which needs no nonce.
    """

    def __init__(self, path: Path) -> None:
        self._files = KeyFiles(path)

    def current(self) -> str:
        """Return the last name."""
        return self._files.newest()

    def wrap(self, key: bytes) -> Wrapped:
        """Wrap a data key with the newest key."""
        name = self._files.newest()
        return Wrapped(name, aes_key_wrap(self._files.read(name), key))

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Return the data key, by the key that has wrapped it."""
        try:
            return aes_key_unwrap(self._files.read(wrapped.key_id), wrapped.data)
        except (InvalidUnwrap, InvalidTag, ValueError):
            raise DataDirectoryRefused(
                f"The key {wrapped.key_id} in {self._files.path} is another one than that which this data directory "
                "was encrypted with. Put the old key back under its name; a new key takes a new name."
            ) from None


class KeyCommand:
    """A program that wraps and unwraps, as those of key management services: `PROGRAM ARGUMENT... wrap|unwrap`.

    It reads one line of base64 and writes one. Its errors are shown; what it reads and writes never is.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)

    def current(self) -> None:
        """Return None: the service knows which of its keys wraps."""
        return

    def wrap(self, key: bytes) -> Wrapped:
        """Run it with `wrap`."""
        return Wrapped("", self._run("wrap", key))

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Run it with `unwrap`."""
        return self._run("unwrap", wrapped.data)

    def _run(self, verb: str, data: bytes) -> bytes:
        words = [*self._words, verb]
        try:
            done = subprocess.run(
                words, input=base64.b64encode(data) + b"\n", capture_output=True, timeout=ANSWER_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            reason = f"did not end within {ANSWER_S:.0f} s" if isinstance(error, subprocess.TimeoutExpired) else error
            raise DataDirectoryRefused(f"The encryption command {self._words[0]} {verb}: {reason}.") from None
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[-500:]
            raise DataDirectoryRefused(
                f"The encryption command {self._words[0]} {verb} ended with {done.returncode}: {said or 'no message'}."
            )
        return _decoded(done.stdout, f"the encryption command {self._words[0]} {verb}")


class KeyService:
    """A service at `URL/wrap` and `URL/unwrap`: POST of `{"data": base64}`, answered by the same. HTTPS, or loopback.

    A token in `token_file` goes with each request as a bearer token.
    """

    def __init__(self, url: str, token_file: Path | None = None) -> None:
        self._url = url.rstrip("/")
        self._token_file = token_file

    def current(self) -> None:
        """Return None: the service knows which of its keys wraps."""
        return

    def wrap(self, key: bytes) -> Wrapped:
        """Ask for `wrap`."""
        return Wrapped("", self._ask("wrap", key))

    def unwrap(self, wrapped: Wrapped) -> bytes:
        """Ask for `unwrap`."""
        return self._ask("unwrap", wrapped.data)

    def _ask(self, verb: str, data: bytes) -> bytes:
        where = f"{self._url}/{verb}"
        headers = {"Content-Type": "application/json"}
        try:
            if self._token_file is not None:
                headers["Authorization"] = f"Bearer {self._token_file.read_text().strip()}"
            body = json.dumps({"data": base64.b64encode(data).decode()}).encode()
            # The scheme was checked, by `is_service_url`.
            request = urllib.request.Request(where, body, headers, method="POST")
            with _opener(where).open(request, timeout=ANSWER_S) as response:
                answer: Any = json.loads(response.read(ANSWER_BYTES_MAX))
        except (OSError, ValueError, urllib.error.URLError) as error:
            raise DataDirectoryRefused(
                f"The encryption service {where} does not answer as it should: {error}."
            ) from None
        found = answer.get("data") if isinstance(answer, dict) else None
        return _decoded(found.encode() if isinstance(found, str) else b"", f"the encryption service {where}")


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an error: the token would go along, to any URL, in the clear as well."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Follow none."""


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Return what opens a URL. Without TLS not by a proxy, which would see the key: this is for this machine alone."""
    direct = [] if url.startswith("https:") else [urllib.request.ProxyHandler({})]
    return urllib.request.build_opener(_NoRedirects, *direct)


def key_source(settings: EncryptionSettings) -> KeySource | None:
    """Return the source that settings name; None for none."""
    if settings.keys_dir is not None:
        return DirectoryOfKeys(settings.keys_dir)
    if settings.command:
        return KeyCommand(settings.command)
    return KeyService(settings.url, settings.token_file) if settings.url else None


def _decoded(answer: bytes, where: str) -> bytes:
    try:
        found = base64.b64decode(answer.strip(), validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if not found or len(answer) > ANSWER_BYTES_MAX:
        raise DataDirectoryRefused(f"What {where} has answered is not one line of base64.")
    return found
