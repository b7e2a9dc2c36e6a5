"""All pages, and the files they are kept in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from collectionstore_dashboards import frame
from collectionstore_dashboards.pages import api, fleet, operators, overview, raft, storage

FOLDER: Final = Path(__file__).parents[1]
PAGES: Final = (overview.PAGE, raft.PAGE, storage.PAGE, api.PAGE, operators.PAGE, fleet.PAGE)


def files() -> Mapping[Path, str]:
    """Return the text of every committed file."""
    return {FOLDER / f"{page.name}.json": frame.text(page) for page in PAGES}
