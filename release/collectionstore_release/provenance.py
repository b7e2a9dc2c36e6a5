"""The provenance of a release: which files were made, of which commit and lock, by which command.

An in-toto Statement v1 with the predicate SLSA Provenance v1. It says what this build says of itself: SLSA build level
1, and with a signature as much as its key is kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

BUILD_TYPE: Final = "https://collectionstore.io/build/make-release/v1"
STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
FILE: Final = "provenance.json"
SIGNED: Final = "provenance.dsse.json"
INPUTS: Final = ("uv.lock", "Dockerfile.node", "Dockerfile.operator", "VERSION")
"""Files of the checkout that decide what is built, besides its sources."""


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def statement(
    folder: Path, files: Iterable[Path], *, root: Path, commit: str, version: str, left_out: Iterable[str]
) -> dict[str, Any]:
    """Return the statement about these files of `folder`, built of the checkout at `root`."""
    inputs = [{"name": name, "digest": {"sha256": digest(root / name)}} for name in INPUTS if (root / name).exists()]
    return {
        "_type": STATEMENT,
        "subject": [
            {"name": path.relative_to(folder).as_posix(), "digest": {"sha256": digest(path)}} for path in sorted(files)
        ],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"version": version, "without": sorted(left_out)},
                "resolvedDependencies": [{"name": "source", "digest": {"gitCommit": commit}}, *inputs],
            },
            "runDetails": {"builder": {"id": BUILD_TYPE}},
        },
    }


def mismatches(found: dict[str, Any], folder: Path) -> list[str]:
    """Return how the files of `folder` differ from what a statement says of them; empty if they do not."""
    wrong = []
    for one in found.get("subject", ()):
        path = folder / one["name"]
        if not path.is_file():
            wrong.append(f"{one['name']} is missing")
        elif digest(path) != one["digest"]["sha256"]:
            wrong.append(f"{one['name']} is another file")
    return wrong
