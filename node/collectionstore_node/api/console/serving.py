"""`/console` and the files that it consists of: without credentials, as they hold no data and are in every release.

What the page shows it asks of the API, by the credentials of the person who uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from collectionstore_node.api.http.answers import Answer
from collectionstore_node.api.http.assets import Asset
from collectionstore_node.api.http.call import Call
from collectionstore_node.api.http.options import NONE
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.http.router import Route

_STATIC: Final = files("collectionstore_node.api.console") / "static"
_PAGE: Final = "console.html"


def _assets(folder: Traversable, path: str = "") -> Iterator[tuple[str, Asset]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _assets(entry, f"{path}{entry.name}/")
        else:
            yield path + entry.name, Asset(entry)


ASSETS: Final = dict(_assets(_STATIC))
"""By path below `/console/`: what is asked for is looked up here, and never on the disk."""


async def page(call: Call) -> Answer:
    """Return the console: a page for people, which uses this API."""
    return ASSETS[_PAGE].answer(call.request.headers)


async def part(call: Call) -> Answer:
    """Return a part of the console: a script, a style or a picture."""
    found = ASSETS.get(call.arguments[0])
    if found is None or call.arguments[0] == _PAGE:
        raise Problem("unknown_route", "the console has no such file")
    return found.answer(call.request.headers)


CONSOLE: Final = (
    Route("GET", "/console", page, NONE),
    Route("GET", "/console/{file...}", part, NONE),
)
