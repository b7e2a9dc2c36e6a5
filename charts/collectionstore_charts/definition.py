"""The CustomResourceDefinition as the chart installs it: marked so that Helm never deletes it."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.crd.definition import text as definition_text

_NAME: Final = "metadata:\n"
_KEPT: Final = f"""{_NAME}  annotations:
    # Deleting the definition would delete all clusters.
    helm.sh/resource-policy: keep
"""


def text() -> str:
    """Return the definition's YAML. Raises ValueError where it has annotations already, which this would hide."""
    made = definition_text()
    head, found, tail = made.partition(f"\n{_NAME}")
    if not found or "\n  annotations:" in tail.partition("\nspec:")[0]:
        raise ValueError("the definition does not begin with metadata of its name alone")
    return f"{head}\n{_KEPT}{tail}"
