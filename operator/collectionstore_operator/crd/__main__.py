"""The command that writes the CustomResourceDefinition, or checks that the file is up to date."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from collectionstore_operator.crd.definition import COMMAND, text

FILE = Path("crds/collectionstoreclusters.collectionstore.io.yaml")


@click.command(
    epilog="""\b
Examples:
  python -m collectionstore_operator.crd                    print to stdout
  python -m collectionstore_operator.crd | kubectl apply --server-side -f -
  python -m collectionstore_operator.crd --write            write it to crds/
  python -m collectionstore_operator.crd --check            fail if crds/ is out of date
"""
)
@click.option("--write", "action", flag_value="write", help="Write the file.")
@click.option("--check", "action", flag_value="check", help="Exit with status 1 if the file is out of date.")
@click.option(
    "--file", type=click.Path(path_type=Path), default=FILE, show_default=True, help="The file to write or check."
)
def main(*, action: str | None, file: Path) -> None:
    """Print, write or check the CustomResourceDefinition, which is generated from the structs of the parser."""
    if action is None:
        click.echo(text(), nl=False)
    elif action == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text())
    elif not file.exists() or file.read_text() != text():
        click.echo(f"{file} is out of date; run: {COMMAND} --write", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
