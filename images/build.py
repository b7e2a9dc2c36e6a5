"""Build the images of the node and the operator with buildah, podman or docker, whichever is there.

Examples:
  python images/build.py                                           localhost/collectionstore-{node,operator}:<version>
  python images/build.py --base-image debian-python:12 --uv-image uv:0.13.8     bases of your own registry
  python images/build.py --tag registry.example.com/store/{kind}:1  another name; {kind} is node or operator
  python images/build.py --archive build/images                    OCI archives besides, to be carried elsewhere
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

REPOSITORY: Final = Path(__file__).resolve().parents[1]
KINDS: Final = ("node", "operator")
ENGINES: Final = ("buildah", "podman", "docker")
CERTIFICATES: Final = "SSL_CERT_FILE"


class BuildError(Exception):
    """An image cannot be built; the text says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A program that builds images. All three understand the same options for that."""

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
        """Return the command that writes an image to an archive which containerd and the other engines read."""
        match self.program:
            case "buildah":
                return ["buildah", "push", tag, f"oci-archive:{archive}:{tag}"]
            case "podman":
                return ["podman", "save", "--format", "oci-archive", "--output", str(archive), tag]
            case _:
                return ["docker", "save", "--output", str(archive), tag]


def find_engine(wanted: str | None) -> Engine:
    """Return the engine that is asked for, or the first that works. Raises BuildError."""
    refused = []
    for program in [wanted] if wanted else ENGINES:
        if shutil.which(program) is None:
            refused.append(f"{program} is not installed")
        # The client of docker is often there without its daemon.
        elif subprocess.run([program, "info"], capture_output=True, check=False).returncode != 0:
            refused.append(f"`{program} info` fails")
        else:
            return Engine(program)
    raise BuildError(f"no program that builds images: {', '.join(refused)}; Debian:  apt-get install buildah")


def run(command: Sequence[str]) -> None:
    """Run a command in the repository with its output shown as it comes. Raises BuildError."""
    environment = {"DOCKER_BUILDKIT": "1", **os.environ}
    if subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode != 0:
        raise BuildError(f"this failed: {' '.join(command)}")


def version() -> str:
    """Return the project's version."""
    return (REPOSITORY / "VERSION").read_text().strip()


def revision() -> str:
    """Return the commit that is checked out, `-changed` when files differ from it; empty outside of a repository."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=-changed"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def build(options: argparse.Namespace) -> None:
    """Build what the options say. Raises BuildError."""
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
    """Build; 1 when it cannot be done."""
    summary, _, examples = str(__doc__).partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="images/build.py",
        description=summary,
        epilog=f"{examples}\n{CERTIFICATES} names certificates to trust during the build.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--engine", choices=ENGINES, help="the program to use; the first that works")
    parser.add_argument("--base-image", help="Python 3.11 or newer with glibc; a public slim image")
    parser.add_argument("--uv-image", help="image with the program /uv; the public one")
    parser.add_argument("--tag", default="localhost/collectionstore-{kind}:{version}", help="name of the images")
    parser.add_argument("--archive", type=Path, metavar="FOLDER", help="write OCI archives there, too")
    parser.add_argument("--only", choices=KINDS, action="append", help="one image instead of both")
    try:
        build(parser.parse_args(arguments))
    except BuildError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
