"""Write the dashboards as JSON, or check that they are current."""

from __future__ import annotations

import argparse
import sys

from collectionstore_dashboards import catalogue

COMMAND = "make generate"


def main() -> int:
    """Write or check; 1 when a file is not current, or one is there that no page makes."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 unless all is current")
    check = parser.parse_args().check
    files = catalogue.files()
    stale = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    orphans = [path for path in catalogue.FOLDER.glob("*.json") if path not in files]
    for path in [*stale, *orphans]:
        if check:
            print(f"{path.name} is not current; make it so:  {COMMAND}", file=sys.stderr)
        elif path in files:
            path.write_text(files[path])
            print(f"wrote dashboards/{path.name}")
        else:
            path.unlink()
            print(f"removed dashboards/{path.name}")
    return 1 if check and (stale or orphans) else 0


if __name__ == "__main__":
    sys.exit(main())
