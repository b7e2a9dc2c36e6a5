"""The layers of an image above its base: the locked dependencies of its package, and the wheels of this checkout.

Two layers, because dependencies change less often: their layer is cached by what the lock says about them.
"""

from __future__ import annotations

import configparser
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from collectionstore_e2e.kube.images import oci, rootfs
from collectionstore_e2e.kube.places import CACHE
from collectionstore_testkit.progress import Progress
from collectionstore_testkit.tools import prometheus, wheels

DEPENDENCIES: Final = "/opt/collectionstore/dependencies"
PROJECT: Final = "/opt/collectionstore/lib"
PYTHON_PATH: Final = f"{PROJECT}:{DEPENDENCIES}"
SCRIPTS: Final = "usr/local/bin"
PROMETHEUS: Final = f"{SCRIPTS}/prometheus"
BASE_PYTHON: Final = "3.11"
"""The base release's; the wheels must be for it, whichever Python runs this."""
FORMAT: Final = "1"
SCRATCH: Final = CACHE / "scratch"

SCRIPT: Final = """#!{python} -P
import sys
from {module} import {function}
sys.exit({function}())
"""


def dependencies(package: str, requirements: str, progress: Progress) -> oci.Layer:
    """Return the layer with the third-party dependencies of a package, as its requirements file names them."""
    key = hashlib.sha256(f"{FORMAT} {BASE_PYTHON} {requirements}".encode()).hexdigest()[:12]
    target = CACHE / "layers" / f"dependencies-{package}-{key}.tar"
    if not target.exists():
        with progress.step(f"install the dependencies of {package}"), _scratch() as scratch:
            wheels.install(requirements, scratch / "site", python_version=BASE_PYTHON)
            _remove_scripts(scratch / "site")
            rootfs.compile_python(scratch / "site", DEPENDENCIES)
            oci.write_layer(target, scratch / "site", prefix=f"{DEPENDENCIES.lstrip('/')}/")
    return oci.Layer.of(target)


def _remove_scripts(site: Path) -> None:
    # Start scripts contain the interpreter's path on this machine, and the image does not use them.
    shutil.rmtree(site / "bin", ignore_errors=True)
    (site / ".lock").unlink(missing_ok=True)
    for record in site.glob("*.dist-info/RECORD"):
        record.unlink()  # it lists those scripts


def project(package: str, build: Callable[[Path], list[Path]], progress: Progress) -> oci.Layer:
    """Return the layer with the wheels that `build` makes in a folder, and their start scripts."""
    with progress.step(f"build the wheels of {package}"), _scratch() as scratch:
        root = scratch / "root"
        installed = root / PROJECT.lstrip("/")
        for wheel in build(scratch / "dist"):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(installed)
        write_scripts(installed, root / SCRIPTS)
        rootfs.compile_python(installed, PROJECT)
        for path in root.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
        layer = scratch / "project.tar"
        oci.write_layer(layer, root)
        digest = oci.Layer.of(layer).digest
        target = CACHE / "layers" / f"project-{package}-{digest.partition(':')[2][:12]}.tar"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(layer, target)
    _delete_older_projects(package, target)
    return oci.Layer(target, digest)


def write_scripts(installed: Path, folder: Path) -> None:
    """Write a script for each command that the wheel declares. Source: entry points specification, console_scripts."""
    folder.mkdir(parents=True)
    for declared in installed.glob("*.dist-info/entry_points.txt"):
        parser = configparser.ConfigParser(delimiters=("=",))
        parser.optionxform = str  # type: ignore[method-assign,assignment]
        parser.read(declared)
        for name, reference in parser["console_scripts"].items():
            module, _, function = reference.partition(":")
            (folder / name).write_text(SCRIPT.format(python=rootfs.PYTHON, module=module, function=function))


def prometheus_layer() -> oci.Layer:
    """Return the layer with a Prometheus server."""
    program = prometheus.server()
    # Debian's needs the C library alone, which the base has.
    target = CACHE / "layers" / f"prometheus-{hashlib.sha256(program.read_bytes()).hexdigest()[:12]}.tar"
    if not target.exists():
        with _scratch() as scratch:
            copied = scratch / "root" / PROMETHEUS
            copied.parent.mkdir(parents=True)
            shutil.copyfile(program, copied)
            for path in (scratch / "root").rglob("*"):
                path.chmod(0o755)
            oci.write_layer(target, scratch / "root")
    return oci.Layer.of(target)


def clear_scratch() -> None:
    """Delete the remains of a killed build. No other build may be running."""
    shutil.rmtree(SCRATCH, ignore_errors=True)


def _delete_older_projects(package: str, kept: Path) -> None:
    for path in kept.parent.glob(f"project-{package}-{12 * '?'}.tar"):
        if path != kept:
            path.unlink()


@contextmanager
def _scratch() -> Iterator[Path]:
    """Create a temporary folder in the cache, so that results can be renamed into place on one file system."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=SCRATCH) as folder:
        yield Path(folder)
