"""The command that writes the CustomResourceDefinitions, or checks that the files are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from collectionstore_operator.crd.definition import COMMAND, texts
from collectionstore_operator.resource import labels

FOLDER = Path("crds")
FILE = FOLDER / f"{labels.PLURAL}.{labels.GROUP}.yaml"
"""That of the cluster."""


@click.command(
    epilog="""\b
Examples:
  python -m collectionstore_operator.crd                    print to stdout
  python -m collectionstore_operator.crd | kubectl apply --server-side -f -
  python -m collectionstore_operator.crd --write            write them to crds/
  python -m collectionstore_operator.crd --check            fail if crds/ is out of date
"""
)
@click.option("--write", "action", flag_value="write", help="Write the files.")
@click.option("--check", "action", flag_value="check", help="Exit with status 1 if a file is out of date.")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=FOLDER, show_default=True, help="Where the files are."
)
def main(*, action: str | None, folder: Path) -> None:
    """Print, write or check the CustomResourceDefinitions, which are generated from the structs of the parser."""
    files = {folder / f"{plural}.{labels.GROUP}.yaml": text for plural, text in texts().items()}
    if action is None:
        click.echo("---\n".join(files.values()), nl=False)
    elif action == "write":
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            file.write_text(text)
    else:
        stale = [file for file, text in files.items() if not file.exists() or file.read_text() != text]
        for file in stale:
            click.echo(f"{file} is out of date; run: {COMMAND} --write", err=True)
        if stale:
            sys.exit(1)


if __name__ == "__main__":
    main()
