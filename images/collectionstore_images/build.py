"""Build the images of the node and the operator with buildah, podman or docker, whichever is installed.

Examples:
  python -m collectionstore_images                       localhost/collectionstore-{node,operator}:<version>
  python -m collectionstore_images --base-image debian-python:12 --uv-image uv:0.13.8    from a private registry
  python -m collectionstore_images --tag registry.example.com/store/{kind}:1  another name; {kind} is node or operator
  python -m collectionstore_images --archive build/images                also write OCI archives
  python -m collectionstore_images --list                build nothing; print what each image contains and its size
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from collectionstore_images import contents
from collectionstore_testkit.errors import ToolError
from collectionstore_testkit.places import REPOSITORY
from collectionstore_testkit.tools.wheels import version

KINDS: Final = ("node", "operator")
ENGINES: Final = ("buildah", "podman", "docker")
CERTIFICATES: Final = "SSL_CERT_FILE"


class BuildError(Exception):
    """An image cannot be built; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that builds images; all three accept the same options."""

    program: str

    def build_command(
        self, kind: str, tag: str, arguments: Mapping[str, str], *, certificates: str | None
    ) -> list[str]:
        """Return the command that builds one image."""
        command = [self.program, "build", "--file", f"Dockerfile.{kind}", "--tag", tag]
        if self.program != "docker":
            command.append("--layers")
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        if certificates:
            command += ["--secret", f"id=ca-certificates,src={certificates}"]
        return [*command, "."]

    def archive_command(self, tag: str, archive: Path) -> list[str]:
        """Return the command that writes an image to an archive that containerd and the other engines can load."""
        match self.program:
            case "buildah":
                return ["buildah", "push", tag, f"oci-archive:{archive}:{tag}"]
            case "podman":
                return ["podman", "save", "--format", "oci-archive", "--output", str(archive), tag]
            case _:
                return ["docker", "save", "--output", str(archive), tag]


def find_engine(requested: str | None) -> Engine:
    """Return the requested engine, or the first that works. Raises BuildError."""
    refused = []
    for program in [requested] if requested else ENGINES:
        if shutil.which(program) is None:
            refused.append(f"{program} is not installed")
        # The docker client is often installed without a running daemon.
        elif subprocess.run([program, "info"], capture_output=True, check=False).returncode != 0:
            refused.append(f"`{program} info` fails")
        else:
            return Engine(program)
    raise BuildError(f"no program that builds images: {', '.join(refused)}; Debian:  apt-get install buildah")


def run(command: Sequence[str]) -> None:
    """Run a command in the repository and pass its output through. Raises BuildError."""
    environment = {"DOCKER_BUILDKIT": "1", **os.environ}
    if subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode != 0:
        raise BuildError(f"command failed: {' '.join(command)}")


def revision() -> str:
    """Return the checked-out commit, with `-changed` if files differ from it; empty outside a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=-changed"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def build(options: argparse.Namespace) -> None:
    """Build the images that the options select. Raises BuildError."""
    engine = find_engine(options.engine)
    given = {"BASE_IMAGE": options.base_image, "UV_IMAGE": options.uv_image, "REVISION": revision()}
    arguments = {"VERSION": version(), **{name: value for name, value in given.items() if value}}
    for kind in options.only or KINDS:
        tag = options.tag.format(kind=kind, version=version())
        started = time.monotonic()
        run(engine.build_command(kind, tag, arguments, certificates=os.environ.get(CERTIFICATES)))
        print(f"built {tag} with {engine.program} in {time.monotonic() - started:.0f} s")
        if options.archive:
            options.archive.mkdir(parents=True, exist_ok=True)
            archive = options.archive.resolve() / f"collectionstore-{kind}.tar"
            archive.unlink(missing_ok=True)
            run(engine.archive_command(tag, archive))
            print(f"wrote {archive}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Build or list; return 1 if that is not possible."""
    summary, _, examples = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_images",
        description=summary,
        epilog=f"{examples}\nThe variable {CERTIFICATES} names a file of certificates to trust during the build.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", choices=ENGINES, help="program to build with (default: the first that works)")
    parser.add_argument("--base-image", help="Python 3.11 or newer with glibc (default: a public slim image)")
    parser.add_argument("--uv-image", help="image that contains /uv (default: the public one)")
    parser.add_argument(
        "--tag", default="localhost/collectionstore-{kind}:{version}", help="name of the images (default: %(default)s)"
    )
    parser.add_argument("--archive", type=Path, metavar="FOLDER", help="also write OCI archives to this folder")
    parser.add_argument("--only", choices=KINDS, action="append", help="build one image instead of both")
    parser.add_argument("--list", action="store_true", help="build no image; list the contents and their sizes")
    options = parser.parse_args(arguments)
    try:
        if options.list:
            print("\n".join(contents.table([contents.of(kind) for kind in options.only or KINDS])))
        else:
            build(options)
    except (BuildError, ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
