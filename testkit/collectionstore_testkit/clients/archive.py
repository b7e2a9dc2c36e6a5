"""The client program as one file that any Python of the node's image can run: `python3 clients.pyz URL`.

A zip application (PEP 441): Python puts the archive at the front of sys.path, so that the package in it is imported
like an installed one. It contains the modules of the testkit that the program imports; their dependencies are those of
the node.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Final

import collectionstore_testkit

ROOMS: Final = ("histories", "clients")
_PACKAGE: Final = Path(collectionstore_testkit.__file__).parent
_MAIN: Final = "from collectionstore_testkit.clients.program import main\n\nmain()\n"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


def client_archive() -> bytes:
    """Return the archive; the same bytes for the same sources."""
    files = [_PACKAGE / "__init__.py", *(path for room in ROOMS for path in sorted((_PACKAGE / room).glob("*.py")))]
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        _add(archive, "__main__.py", _MAIN)
        for path in files:
            _add(archive, path.relative_to(_PACKAGE.parent).as_posix(), path.read_text())
    return content.getvalue()


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    # A fixed time, so that applying an unchanged ConfigMap changes nothing.
    archive.writestr(zipfile.ZipInfo(name, date_time=_EPOCH), text, zipfile.ZIP_DEFLATED)
