"""A storage node that counts nothing: what `metrics_cost.py` compares with. Local clusters have no setting for it."""

from __future__ import annotations

import os

from collectionstore_node.__main__ import main
from collectionstore_node.settings import PREFIX

if __name__ == "__main__":
    os.environ[f"{PREFIX}METRICS"] = "Disabled"
    main()
