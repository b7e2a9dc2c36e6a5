"""What the tests of the charts share: charts rendered by the real Helm, once for each set of values."""

from __future__ import annotations

from typing import Any

import pytest


class Objects(list[dict[str, Any]]):
    """Rendered objects, found by kind and name."""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self if one["kind"] == kind]

    def one(self, kind: str, name: str | None = None) -> dict[str, Any]:
        found = [one for one in self.of(kind) if name is None or one["metadata"]["name"] == name]
        assert len(found) == 1, (
            f"{len(found)} of {kind} {name or ''} among {[one['metadata']['name'] for one in self.of(kind)]}"
        )
        return found[0]


@pytest.fixture(scope="session")
def objects() -> type[Objects]:
    return Objects
