"""The images' base: a small Debian with Python and a shell, built once by debootstrap and cached.

It replaces the public base image of the released images, which cannot be pulled without a registry.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube.images import oci
from collectionstore_e2e.kube.places import CACHE, DEBIAN_RELEASE
from collectionstore_testkit.commands import run
from collectionstore_testkit.progress import Progress

VERSION: Final = "2"
"""Incremented when this module changes the content, so that caches are rebuilt."""
FOLDER: Final = CACHE / "rootfs" / f"{DEBIAN_RELEASE}-{VERSION}"
LAYER: Final = CACHE / "layers" / f"rootfs-{DEBIAN_RELEASE}-{VERSION}.tar"
PYTHON: Final = "/usr/bin/python3"

UNNEEDED: Final = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "var/cache/apt",
    "var/lib/apt/lists",
    "var/log",
)
BARE: Final = ("dev", "proc", "sys", "run", "tmp", "mnt")

# In separate namespaces: debootstrap mounts /proc, and if it is killed, neither mount nor process must remain.
ISOLATED: Final = ("unshare", "--fork", "--kill-child", "--pid", "--mount", "--")

COMPILE: Final = f"""
set -e
mount --bind "$1" "$2/mnt"
exec chroot "$2" {PYTHON} -m compileall -q -f --invalidation-mode unchecked-hash -s /mnt -p "$3" /mnt
"""


def build(progress: Progress) -> oci.Layer:
    """Build the base unless it is cached, and return its layer; its files are in FOLDER."""
    if not LAYER.exists():
        with progress.step("build the images' base with debootstrap (first time only, about a minute)"):
            _make_folder()
            LAYER.parent.mkdir(parents=True, exist_ok=True)
            oci.write_layer(LAYER, FOLDER, keep_owner=True, bare=BARE)
    return oci.Layer.of(LAYER)


def compile_python(folder: Path, installed: str) -> None:
    """Compile all Python files in `folder` for the base's interpreter; `installed` is their folder in the image.

    The compiled files are not checked against their sources: layers have no times, and nothing changes in an image.
    """
    run([*ISOLATED, "sh", "-c", COMPILE, "compile", folder, FOLDER, installed])


def _make_folder() -> None:
    unfinished = FOLDER.with_name(f"{FOLDER.name}.new")
    for old in (unfinished, FOLDER):
        if old.exists():
            shutil.rmtree(old)
    unfinished.mkdir(parents=True)
    mirror = debian_mirror(run(["apt-get", "indextargets", "--format", "$(CREATED_BY) $(RELEASE) $(REPO_URI)"]))
    command = ["debootstrap", "--variant=minbase", "--include=python3,ca-certificates", DEBIAN_RELEASE, str(unfinished)]
    run([*ISOLATED, *command, *([mirror] if mirror else [])])
    for name in UNNEEDED:
        shutil.rmtree(unfinished / name, ignore_errors=True)
    (unfinished / "var/log").mkdir()
    # Unique to a machine: the container runtime provides them.
    for name in ("etc/hostname", "etc/resolv.conf", "etc/machine-id"):
        (unfinished / name).unlink(missing_ok=True)
    unfinished.rename(FOLDER)
    compile_python(FOLDER / "usr/lib", "/usr/lib")


def debian_mirror(targets: str) -> str | None:
    """Return the mirror that this machine's apt uses for the release, or None."""
    for line in targets.splitlines():
        kind, _, rest = line.partition(" ")
        release, _, uri = rest.partition(" ")
        if kind == "Packages" and release == DEBIAN_RELEASE and uri.startswith(("http:", "https:")):
            return uri
    return None
