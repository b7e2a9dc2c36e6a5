"""Verify a release: the signatures of its sums and of its provenance, and that every file is as both say.

Examples:
  python -m collectionstore_release.verify --key cosign.pub dist/0.1.0
  python -m collectionstore_release.verify --make-keys cosign     write cosign.key and cosign.pub, once
  cosign verify-blob --key cosign.pub --signature SHA256SUMS.sig SHA256SUMS   the same of the sums, by cosign

The password of a key is in COLLECTIONSTORE_SIGNING_PASSWORD.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from collectionstore_release import provenance
from collectionstore_release.signing import (
    NotSigned,
    load_private,
    load_public,
    make_keys,
    opened,
    sign_file,
    verify_file,
)
from collectionstore_release.signing import envelope as signed_envelope

SUMS: Final = "SHA256SUMS"
PASSWORD: Final = "COLLECTIONSTORE_SIGNING_PASSWORD"  # the name of a variable


def password() -> bytes:
    """Return the password of the key; empty for none."""
    return os.environ.get(PASSWORD, "").encode()


def sign(folder: Path, statement: dict[str, object], key: Path) -> None:
    """Sign the provenance of a release and its sums, which are written already. Raises NotSigned."""
    private = load_private(key, password())
    (folder / provenance.SIGNED).write_bytes(signed_envelope(statement, private))
    sign_file(folder / SUMS, private)


def problems(folder: Path, key: Path) -> list[str]:
    """Return what is wrong with a release; empty if nothing is. Raises NotSigned if it is not signed by the key."""
    public = load_public(key)
    verify_file(folder / SUMS, public)
    wrong = []
    for line in (folder / SUMS).read_text().splitlines():
        expected, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file():
            wrong.append(f"{name} is missing")
        elif provenance.digest(path) != expected:
            wrong.append(f"{name} is another file than that of {SUMS}")
    signed = folder / provenance.SIGNED
    if not signed.is_file():
        raise NotSigned(f"{signed} is missing")
    statement = opened(signed.read_bytes(), public)
    return wrong + [f"{one}, by the provenance" for one in provenance.mismatches(statement, folder)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Verify, or make keys; return 1 if something is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_release.verify",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, nargs="?", help="the release, such as dist/0.1.0")
    parser.add_argument("--key", type=Path, help="the public key")
    parser.add_argument("--make-keys", metavar="NAME", help="write NAME.key and NAME.pub, and verify nothing")
    options = parser.parse_args(arguments)
    try:
        if options.make_keys:
            make_keys(Path(f"{options.make_keys}.key"), Path(f"{options.make_keys}.pub"), password())
            print(f"wrote {options.make_keys}.key and {options.make_keys}.pub")
            return 0
        if options.folder is None or options.key is None:
            parser.error("give a folder and --key, or --make-keys")
        found = problems(options.folder, options.key)
    except (NotSigned, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for one in found:
        print(one, file=sys.stderr)
    if not found:
        print(f"{options.folder} is signed by {options.key}, and every file is as it says")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
