"""Build wheels, images, charts, the krew manifest, SBOMs and provenance of the version in VERSION into dist/.

Publishes nothing. With a key, the sums and the provenance are signed as cosign does (`collectionstore_release.verify`).

Refuses a checkout that is not ready: no section of the version in CHANGELOG.md, another version in a chart, or files
that differ from the commit.

Examples:
  python -m collectionstore_release                   everything
  python -m collectionstore_release --check           only say whether the checkout is ready
  python -m collectionstore_release --without images  on a machine that cannot build images
  python -m collectionstore_release --key cosign.key  signed
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from collectionstore_charts.helm import CHARTS, HelmFailed, helm
from collectionstore_images.build import main as build_images
from collectionstore_release import image_sbom, krew, provenance, verify
from collectionstore_release.checks import CHARTS as CHART_NAMES
from collectionstore_release.checks import problems
from collectionstore_release.signing import NotSigned
from collectionstore_testkit.commands import run
from collectionstore_testkit.errors import ToolError
from collectionstore_testkit.places import REPOSITORY
from collectionstore_testkit.tools import wheels

DIST: Final = REPOSITORY / "dist"
PACKAGES: Final = (
    "collectionstore",
    "collectionstore-local",
    "collectionstore-node",
    "collectionstore-operator",
    "collectionstore-telemetry",
)
"""What is published; the testkit and the programs of the repository are not."""
SUMS: Final = "SHA256SUMS"


class ReleaseFailed(Exception):
    """A part of the release could not be built; the text says which and why."""


def build_wheels(folder: Path) -> None:
    """Build one wheel for each published package."""
    for package in PACKAGES:
        wheels.run_uv("build", "--quiet", "--wheel", "--package", package, "--out-dir", str(folder))


def write_sboms(folder: Path) -> None:
    """Write the bill of materials of each published package, from the lock (CycloneDX 1.5)."""
    folder.mkdir(parents=True)
    common = ("export", "--quiet", "--frozen", "--no-dev", "--preview-features", "sbom-export")
    for package in PACKAGES:
        target = folder / f"{package}.cdx.json"
        wheels.run_uv(*common, "--format", "cyclonedx1.5", "--package", package, "--output-file", str(target))


def package_charts(folder: Path) -> None:
    """Package both charts with Helm."""
    for name in CHART_NAMES:
        helm("package", CHARTS / name, "--destination", folder)


def archive_images(folder: Path) -> None:
    """Build both images and write them as archives."""
    if build_images(["--archive", str(folder)]) != 0:
        raise ReleaseFailed("the images could not be built; on a machine that cannot: --without images")
    for archive in sorted(folder.glob("*.tar")):
        try:
            found = image_sbom.sbom(archive, archive.stem)
        except image_sbom.NoImage as error:
            raise ReleaseFailed(f"{error}; buildah and podman write OCI archives, docker does not") from None
        archive.with_suffix(".cdx.json").write_text(json.dumps(found, indent=1) + "\n")


PARTS: Final[Mapping[str, Callable[[Path], None]]] = {
    "wheels": build_wheels,
    "sboms": write_sboms,
    "charts": package_charts,
    "krew": krew.write,
    "images": archive_images,
}


def write_provenance(folder: Path, version: str, left_out: Sequence[str]) -> dict[str, Any]:
    """Write and return the provenance of every file."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    commit = run(["git", "rev-parse", "HEAD"], cwd=REPOSITORY).strip()
    made = provenance.statement(folder, files, root=REPOSITORY, commit=commit, version=version, left_out=left_out)
    (folder / provenance.FILE).write_text(json.dumps(made, indent=1) + "\n")
    return made


def write_sums(folder: Path) -> None:
    """Write the SHA-256 of every file, as sha256sum does."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SUMS)
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / SUMS).write_text("".join(lines))


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the release; return 1 if the checkout is not ready or a part cannot be built."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_release",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="build nothing; exit with 1 unless the checkout is ready")
    parser.add_argument("--key", type=Path, help="sign with this private key, PEM")
    parser.add_argument("--without", choices=sorted(PARTS), action="append", default=[], help="leave a part out")
    options = parser.parse_args(arguments)
    found = problems(REPOSITORY)
    if found:
        print("not ready for a release:", *(f"- {one}" for one in found), sep="\n", file=sys.stderr)
        return 1
    version = wheels.version()
    if options.check:
        print(f"{version} is ready to be built")
        return 0
    folder = DIST / version
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        for name, build in PARTS.items():
            if name not in options.without:
                print(f"building {name}")
                build(folder / name)
    except (ReleaseFailed, ToolError, HelmFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    statement = write_provenance(folder, version, options.without)
    write_sums(folder)
    if options.key is not None:
        try:
            verify.sign(folder, statement, options.key)
        except NotSigned as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    print((folder / SUMS).read_text(), end="")
    left_out = f", without {', '.join(options.without)}" if options.without else ""
    print(f"{version} is in {folder.relative_to(REPOSITORY)}{left_out}. Nothing was published.")
    print(f"Next: git tag --sign v{version}, push it, upload wheels, charts and images, publish the changelog section.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
