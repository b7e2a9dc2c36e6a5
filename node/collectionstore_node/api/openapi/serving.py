"""The pages about the API itself: `/`, `/openapi.json`, and `/docs`, which shows that document."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from typing import Final

import orjson

from collectionstore_node import __version__
from collectionstore_node.api.http.answers import JSON, Answer, json_answer
from collectionstore_node.api.http.assets import REVALIDATED, Asset
from collectionstore_node.api.http.call import Call, Handler
from collectionstore_node.api.http.options import NONE
from collectionstore_node.api.http.router import Route
from collectionstore_node.api.openapi.document import describe

_LINKS: Final = {
    "console": "/console",
    "documentation": "/docs",
    "openapi": "/openapi.json",
    "collections": "/api/v1/collections",
    "cluster": "/api/v1/cluster",
    "status": "/status",
}


def described(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Return `routes` and those of the pages about them."""
    given = tuple(routes)
    pages = (
        Route("GET", "/", _index, NONE),
        Route("GET", "/openapi.json", _openapi_of(given), NONE),
        Route("GET", "/docs", _part("page.html"), NONE),
        Route("GET", "/docs/page.css", _part("page.css"), NONE),
        Route("GET", "/docs/page.js", _part("page.js"), NONE),
    )
    return (*given, *pages)


async def _index(call: Call) -> Answer:
    """Return the name and version of what answers here, and where its pages are."""
    return json_answer(
        {"name": "Collection Store", "version": __version__, "member": call.api.store.name, "links": _LINKS},
        headers=REVALIDATED,
    )


def _openapi_of(routes: tuple[Route, ...]) -> Handler:
    made: list[bytes] = []

    def make() -> bytes:
        return orjson.dumps(describe(described(routes)))

    async def openapi(call: Call) -> Answer:
        """Return this description of the API."""
        if not made:
            # Once, and in a thread: it takes tens of milliseconds.
            made.append(await call.api.store.queries.checked(make, timeout_s=call.timeout_s))
        return Answer(200, JSON + REVALIDATED, made[0])

    return openapi


def _part(name: str) -> Handler:
    asset = Asset(files("collectionstore_node.api.openapi") / "page" / name)

    async def page(call: Call) -> Answer:
        """Return a part of the page that shows the description of the API."""
        return asset.answer(call.request.headers)

    return page
