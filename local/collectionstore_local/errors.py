"""The base of every error that the local runtime raises on purpose."""

from __future__ import annotations

from collectionstore.cli.exit_codes import CommandError


class LocalError(CommandError):
    """The user must know about it and can act on it; the text says what happened and what to do."""
