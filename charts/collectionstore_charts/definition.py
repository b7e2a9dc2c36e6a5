"""The CustomResourceDefinitions as the chart installs them: marked so that Helm never deletes them."""

from __future__ import annotations

from typing import Final

from collectionstore_operator.crd.definition import texts

_NAME: Final = "metadata:\n"
_KEPT: Final = f"""{_NAME}  annotations:
    # Deleting the definition would delete all of its resources.
    helm.sh/resource-policy: keep
"""


def text() -> str:
    """Return the YAML of all definitions. Raises ValueError where one has annotations, which this would hide."""
    return "---\n".join(_kept(made) for made in texts().values())


def _kept(made: str) -> str:
    head, found, tail = made.partition(f"\n{_NAME}")
    if not found or "\n  annotations:" in tail.partition("\nspec:")[0]:
        raise ValueError("the definition does not begin with metadata of its name alone")
    return f"{head}\n{_KEPT}{tail}"
