"""Certificates of TLS, read again when their files are replaced: authorities and certificates rotate."""

from __future__ import annotations

from collectionstore.errors import ConfigurationError
from collectionstore.settings.options import Tls


class Trust:
    """The context of all connections of a client. Raises ConfigurationError when it is made."""

    def __init__(self, tls: Tls) -> None:
        self._tls = tls
        self._stamps = tls.stamps()
        self.context = tls.context()
        self.refused = ""
        """Why the files that are there now could not be used; what was read before is used on."""

    def renew(self) -> None:
        """Read the files if they were replaced; blocks. Files that are half written are read at the next look."""
        stamps = self._tls.stamps()
        if stamps == self._stamps:
            return
        try:
            self._tls.reload(self.context)
        except ConfigurationError as error:
            self.refused = str(error)
            return
        self._stamps, self.refused = stamps, ""
