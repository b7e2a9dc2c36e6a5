"""The authority of a local cluster as files, each step of its rotation safe against a crash between two of them.

    ca/ca.crt          the certificates that members and clients trust; the first signs
    ca/ca.key          the key of the first
    ca/next.key        the key of the second, while it is to sign next
    ca/rotation.json   which request of the user was carried out last

A supervisor of a version without rotation reads the first certificate and `ca.key`. Keys have mode 0600 from their
first byte, and never leave this directory.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec

from collectionstore_local.state.directory import DIRECTORY_MODE, write_atomically
from collectionstore_operator.model.observed import Authority
from collectionstore_operator.reconcile import pki, stored_authority
from collectionstore_operator.reconcile.stored_authority import StoredAuthority

AUTHORITY_CERTIFICATE, AUTHORITY_KEY = "ca.crt", "ca.key"
_NEXT_KEY, _ROTATION = "next.key", "rotation.json"
KEYS = (AUTHORITY_KEY, _NEXT_KEY)
"""The files with private keys."""


class _Rotation(msgspec.Struct, frozen=True):
    request: str = ""
    requested: bool = False


class AuthorityFiles:
    """The files of one cluster. Caches what was read: parsing keys is slow, and they seldom change."""

    def __init__(self, folder: Path, *, write: Callable[[Path, bytes], None] = write_atomically) -> None:
        """`write` replaces a file durably."""
        self._folder = folder
        self._write = write
        self._described: tuple[StoredAuthority, Authority | None] | None = None

    def read(self) -> StoredAuthority | None:
        """Return what is stored, readable or not; None if there is neither a certificate nor a key."""
        bundle, key = self._content(AUTHORITY_CERTIFICATE), self._content(AUTHORITY_KEY)
        if not bundle and not key:
            return None
        following, rotation = self._content(_NEXT_KEY), self._rotation()
        stored = StoredAuthority(bundle, key, following, rotation.request, rotation.requested)
        if following and stored_authority.signing_pair(stored) is None:
            # A promotion was interrupted after the certificates changed their order: it counts, and is completed.
            promoted = replace(stored, key_pem=following, next_key_pem=b"")
            if stored_authority.signing_pair(promoted) is not None:
                return promoted
        if following and pki.identifier_of_key(following) not in stored_authority.identifiers(bundle)[1:]:
            # Left by a step that was interrupted before it counted, or after: the next write removes it.
            return replace(stored, next_key_pem=b"")
        return stored

    def look(self) -> Authority | None:
        """Return the authority as the planner sees it; None if there is none that can sign."""
        stored = self.read()
        if stored is None:
            return None
        if self._described is None or self._described[0] != stored:
            self._described = (stored, stored_authority.describe(stored))
        return self._described[1]

    def write(self, stored: StoredAuthority) -> None:
        """Store an authority that has no second key, or whose second key is stored already."""
        self._folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        # The key first: a certificate whose key was lost in a crash could never be renewed with the same key.
        if self._content(AUTHORITY_KEY) != stored.key_pem:
            self._write(self._folder / AUTHORITY_KEY, stored.key_pem)
        self._write(self._folder / AUTHORITY_CERTIFICATE, stored.bundle_pem)
        if not stored.next_key_pem:
            (self._folder / _NEXT_KEY).unlink(missing_ok=True)
        self._write_rotation(stored)

    def prepare(self, stored: StoredAuthority) -> None:
        """Store an authority with the key that is to sign next."""
        self._folder.mkdir(mode=DIRECTORY_MODE, exist_ok=True)
        if self._content(AUTHORITY_KEY) != stored.key_pem:
            # The first time for peers: their authority begins with the key of the other one.
            self._write(self._folder / AUTHORITY_KEY, stored.key_pem)
        # The key first, and the certificate makes it count. The request last: what is not carried out is not recorded.
        self._write(self._folder / _NEXT_KEY, stored.next_key_pem)
        self._write(self._folder / AUTHORITY_CERTIFICATE, stored.bundle_pem)
        self._write_rotation(stored)

    def promote(self, stored: StoredAuthority) -> None:
        """Store an authority whose key was the one to sign next."""
        # One write makes it count: from then on `read` takes the key of the first certificate from where it is.
        self._write(self._folder / AUTHORITY_CERTIFICATE, stored.bundle_pem)
        self.write(stored)

    def _write_rotation(self, stored: StoredAuthority) -> None:
        rotation = _Rotation(stored.request, stored.requested)
        if rotation != self._rotation():
            self._write(self._folder / _ROTATION, msgspec.json.encode(rotation))

    def _rotation(self) -> _Rotation:
        content = self._content(_ROTATION)
        try:
            return msgspec.json.decode(content, type=_Rotation) if content else _Rotation()
        except msgspec.DecodeError:
            return _Rotation()  # as if the request was not carried out: a second rotation harms nothing

    def _content(self, name: str) -> bytes:
        """Return the content of a file; empty if there is none."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return b""
