"""Write the generated files of the charts and of install/, or check that they are current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from collectionstore_charts import chart_versions, cluster_schema, definition, readme, render, rules
from collectionstore_charts.helm import CHARTS, CLUSTER, OPERATOR

REPOSITORY = CHARTS.parent
COMMAND = "make generate"


def parts() -> Mapping[Path, str]:
    """Return the files that the charts are rendered from."""
    files = OPERATOR / "files"
    return {
        files / "crd.yaml": definition.text(),
        files / "rules-everywhere.yaml": rules.text(rules.everywhere()),
        files / "rules-namespaced.yaml": rules.text(rules.namespaced()),
        files / "rules-nodes.yaml": rules.text(rules.nodes()),
        files / "rules-own.yaml": rules.text(rules.own()),
        files / "rules.yaml": (REPOSITORY / "alerts" / "rules.yaml").read_text(),
        **{files / "dashboards" / path.name: path.read_text() for path in (REPOSITORY / "dashboards").glob("*.json")},
        CLUSTER / "values.schema.json": cluster_schema.text(),
        **{chart / "Chart.yaml": chart_versions.text(chart) for chart in (OPERATOR, CLUSTER)},
        OPERATOR / "README.md": _readme(OPERATOR, {}),
        CLUSTER / "README.md": _readme(CLUSTER, {"spec": readme.table(readme.fields())}),
    }


def rendered() -> Mapping[Path, str]:
    """Return the files that are rendered by Helm, from parts that are current."""
    return {REPOSITORY / "install" / "operator.yaml": render.text()}


def _readme(chart: Path, further: Mapping[str, str]) -> str:
    tables = {"values": readme.table(readme.values(chart / "values.yaml")), **further}
    return readme.with_tables((chart / "README.md").read_text(), tables)


def stale(files: Mapping[Path, str], *, check: bool) -> bool:
    """Write the files that are not current, or name them; return whether any is still not."""
    found = [path for path, text in files.items() if not path.exists() or path.read_text() != text]
    for path in found:
        name = path.relative_to(REPOSITORY)
        if check:
            print(f"{name} is not current; make it so:  {COMMAND}", file=sys.stderr)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(files[path])
            print(f"wrote {name}")
    return check and bool(found)


def main() -> int:
    """Write or check; 1 when a file is not current."""
    parser = argparse.ArgumentParser(prog="python -m collectionstore_charts", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 unless all is current")
    check = parser.parse_args().check
    return 1 if stale(parts(), check=check) or stale(rendered(), check=check) else 0


if __name__ == "__main__":
    sys.exit(main())
