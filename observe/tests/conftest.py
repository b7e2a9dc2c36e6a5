"""What the tests share: small dashboards."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from collectionstore_observe.dashboards import Dashboard, load

Made = Callable[..., Dashboard]


@pytest.fixture
def made(tmp_path: Path) -> Made:
    """Makes a dashboard of panels, given as title -> expression."""

    def make(expressions: Mapping[str, str], **further: Any) -> Dashboard:
        panels = [
            {
                "title": title,
                "type": "timeseries",
                "gridPos": {"x": 0, "y": 8 * number, "w": 12, "h": 8},
                "targets": [{"refId": "A", "expr": expression, "legendFormat": "{{instance}}"}],
            }
            for number, (title, expression) in enumerate(expressions.items())
        ]
        path = tmp_path / "page.json"
        path.write_text(json.dumps({"uid": "page", "title": "Page", "panels": panels, **further}))
        return load([path])[0]

    return make
