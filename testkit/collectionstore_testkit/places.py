"""Where the checkout and the caches of the test tools are. Constants and paths only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).resolve().parents[2]
_CACHES: Final = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
KUBE_CACHE: Final = _CACHES / "collectionstore-kube"
"""Programs built from Go modules, image layers, and what else the test cluster keeps between runs."""
PROMETHEUS_CACHE: Final = _CACHES / "collectionstore-observe"
"""The unpacked Prometheus package."""
LOAD_CACHE: Final = _CACHES / "collectionstore-bench"
"""The unpacked load generator."""
