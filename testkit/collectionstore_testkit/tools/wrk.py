"""Finds the HTTP load generator `wrk`: on the PATH, otherwise from Debian's package."""

from __future__ import annotations

import shutil
from typing import Final

from collectionstore_testkit.places import LOAD_CACHE
from collectionstore_testkit.tools import debian

PACKAGE: Final = "wrk"
LIBRARIES: Final = ("libluajit-5.1-2", "libluajit-5.1-common")


def command() -> list[str]:
    """Return the words that start wrk. Raises ToolError when it is missing and cannot be unpacked."""
    on_path = shutil.which(PACKAGE)
    if on_path is not None:
        return [on_path]
    root = debian.unpacked(PACKAGE, LOAD_CACHE, libraries=LIBRARIES)
    folders = sorted({str(library.parent) for library in (root / "usr" / "lib").rglob("*.so*")})
    return ["env", f"LD_LIBRARY_PATH={':'.join(folders)}", str(root / "usr" / "bin" / PACKAGE)]
