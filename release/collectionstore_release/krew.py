"""The krew manifest of the kubectl plugin, and the archive that it names: a launcher of the published wheel.

The plugin needs wheels that are compiled for each Python, so the archive does not carry them: its launcher runs the
wheel of the same version by uv or pipx, whichever is installed, and says what to install where neither is. Source of
the manifest's fields: krew, developer guide, "Writing Plugin Manifests".
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any, Final

import yaml

from collectionstore_testkit.places import REPOSITORY

NAME: Final = "collectionstore"
PROGRAM: Final = "kubectl-collectionstore"
DOWNLOAD_URL: Final = "COLLECTIONSTORE_DOWNLOAD_URL"
"""Environment variable: the URL below which the files of a release are published."""
USUAL_URL: Final = "https://example.com/collectionstore"
API_VERSION: Final = "krew.googlecontainertools.github.com/v1alpha2"
SYSTEMS: Final = ("darwin", "linux")

LAUNCHER: Final = """\
#!/bin/sh
# Runs the kubectl plugin of Collection Store {version} from its published wheel.
set -eu
wheel='collectionstore[kubernetes]=={version}'
if command -v uv >/dev/null 2>&1; then
    exec uv tool run --quiet --from "$wheel" {program} "$@"
elif command -v pipx >/dev/null 2>&1; then
    exec pipx run --spec "$wheel" {program} "$@"
fi
echo "kubectl collectionstore needs uv or pipx to run $wheel; install one of them." >&2
echo "Or install the plugin without krew: pip install '$wheel'" >&2
exit 1
"""


def write(folder: Path) -> None:
    """Write archive and manifest of the version in VERSION into a new folder."""
    folder.mkdir(parents=True)
    version = (REPOSITORY / "VERSION").read_text().strip()
    content = archive(version)
    (folder / archive_name(version)).write_bytes(content)
    found = manifest(version, content, base_url=os.environ.get(DOWNLOAD_URL, USUAL_URL))
    (folder / f"{NAME}.yaml").write_text(yaml.safe_dump(found, sort_keys=False, width=120))


def archive_name(version: str) -> str:
    """Return the name of the archive."""
    return f"{PROGRAM}-{version}.tar.gz"


def archive(version: str) -> bytes:
    """Return the archive: the launcher and the license. Equal versions have equal bytes."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        launcher = LAUNCHER.format(version=version, program=PROGRAM).encode()
        for name, content, mode in (
            (PROGRAM, launcher, 0o755),
            ("LICENSE", (REPOSITORY / "LICENSE").read_bytes(), 0o644),
        ):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), mtime=0)


def manifest(version: str, content: bytes, *, base_url: str) -> dict[str, Any]:
    """Return the manifest for an archive that is published below `base_url`."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Plugin",
        "metadata": {"name": NAME},
        "spec": {
            "version": f"v{version}",
            "homepage": base_url,
            "shortDescription": "Operate Collection Store clusters",
            "description": (
                "Shows members, conditions and the plan of a CollectionStoreCluster, says what a change would do "
                "before it is applied, and restarts, replaces, backs up and recovers with its steps shown.\n"
            ),
            "caveats": "Needs uv or pipx, which run the plugin's wheel of the same version.\n",
            "platforms": [
                {
                    "selector": {"matchExpressions": [{"key": "os", "operator": "In", "values": list(SYSTEMS)}]},
                    "uri": f"{base_url}/{archive_name(version)}",
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "files": [{"from": name, "to": "."} for name in (PROGRAM, "LICENSE")],
                    "bin": PROGRAM,
                }
            ],
        },
    }
