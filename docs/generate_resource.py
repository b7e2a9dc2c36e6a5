"""Write docs/reference/resource.md from the CustomResourceDefinition: `kubectl explain csc.spec` as a page.

Run: python docs/generate_resource.py --write, or --check to exit with 1 unless the page is current.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

REPOSITORY: Final = Path(__file__).resolve().parents[1]
DEFINITION: Final = REPOSITORY / "crds" / "collectionstoreclusters.collectionstore.io.yaml"
PAGE: Final = REPOSITORY / "docs" / "reference" / "resource.md"
HEAD: Final = """# CollectionStoreCluster

Every field of the resource, made from [its definition](../../crds/collectionstoreclusters.collectionstore.io.yaml);
`kubectl explain csc.spec --recursive` prints the same. `make generate` writes this page.
"""

Schema = Mapping[str, Any]


def rows(schema: Schema, path: str) -> Iterator[str]:
    """Yield a table row for each field below a schema, in depth-first order."""
    for name, field in schema.get("properties", {}).items():
        inner = field.get("items", field)
        where = f"{path}.{name}" + ("[]" if "items" in field else "")
        text = " ".join(str(field.get("description", "")).split()).replace("|", "\\|")
        yield f"| `{where}` | {kind(field)} | {text} |"
        # Fields of Kubernetes' own types are documented there.
        if not inner.get("x-kubernetes-preserve-unknown-fields"):
            yield from rows(inner, where)


def kind(field: Schema) -> str:
    """Return type, bounds, allowed values and default of a field."""
    parts = [f"[]{field['items'].get('type', '')}" if "items" in field else str(field.get("type", "any"))]
    if "enum" in field:
        parts = [" ".join(f"`{value}`" for value in field["enum"])]
    if "minimum" in field or "maximum" in field:
        parts.append(f"{field.get('minimum', '')}..{field.get('maximum', '')}")
    if "default" in field and not isinstance(field["default"], dict):
        value = field["default"]
        parts.append(f"default `{str(value).lower() if isinstance(value, bool) else value}`")
    return ", ".join(parts)


def page() -> str:
    """Return the page."""
    definition = yaml.safe_load(DEFINITION.read_text())
    (version,) = (one for one in definition["spec"]["versions"] if one["served"])
    root = version["schema"]["openAPIV3Schema"]["properties"]
    lines = [HEAD, f"API version: `{definition['spec']['group']}/{version['name']}`, short name `csc`.", ""]
    for part in ("spec", "status"):
        lines += [f"## {part}", "", str(root[part].get("description", "")), "", "| field | type | meaning |"]
        lines += ["| --- | --- | --- |", *rows(root[part], part), ""]
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    """Write or check the page."""
    match arguments:
        case ["--write"]:
            PAGE.write_text(page())
        case ["--check"]:
            if PAGE.read_text() != page():
                print(f"{PAGE.relative_to(REPOSITORY)} is not current: make generate", file=sys.stderr)
                return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 64
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
